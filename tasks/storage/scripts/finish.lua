-- Ends the reply in turn: into the document and the stream at once, with exactly the text that was shown.
-- The holder of the lease ends it as finished or failed; with no owner it is a person who stops it,
-- and whoever was writing has lost the lease from then on.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, owner ('' to stop), pending and count that the caller saw ('' for any), reply id,
--      'finished' or 'failed', head and tail of the JSON around the text, JSON string to use if no text was shown,
--      head of the event, ttl (s), ttl of the stream once nothing is pending (s)
-- Returns -1 if the lease is lost, -2 if the conversation changed, else how many messages still wait.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, owner, seen, reply, outcome, head, tail, empty, event, ttl, quiet = unpack(ARGV)

local s = redis.call('HMGET', state, 'owner', 'pending', 'count', 'is_retry', 'last', 'failed', 'reply')
local pending, count, is_retry = tonumber(s[2]) or 0, tonumber(s[3]) or 0, tonumber(s[4]) or 0
if s[5] == reply and s[7] ~= reply then
  return pending
end
if seen ~= '' and seen ~= pending .. ':' .. count then
  return -2
end
if pending == 0 or (owner ~= '' and s[1] ~= owner) then
  return -1
end

local text = redis.call('GET', partial)
local body = head .. (text and cjson.encode(text) or empty) .. tail
local index = count - pending
if outcome == 'finished' and s[6] then
  redis.call('JSON.DEL', document, '$.messages[' .. index - is_retry .. '].failed')
  redis.call('HDEL', state, 'failed')
end
if outcome == 'failed' then
  redis.call('JSON.SET', document, '$.messages[' .. index - is_retry .. '].failed', body)
elseif is_retry == 1 then
  redis.call('JSON.SET', document, '$.messages[' .. index .. ']', body)
else
  if pending == 1 then
    redis.call('JSON.ARRAPPEND', document, '$.messages', body)
  else
    redis.call('JSON.ARRINSERT', document, '$.messages', index + 1, body)
  end
  redis.call('HINCRBY', state, 'count', 1)
end
-- A failure's fields stand in the event itself, a message in its own object.
local payload = outcome == 'failed' and event .. string.sub(body, 2) or event .. body .. '}'
local _, notification = append(conversation, events, payload)
notify(notification)

pending = redis.call('HINCRBY', state, 'pending', -1)
redis.call('HSET', state, 'last', reply)
redis.call('HDEL', state, 'reply', 'retry', 'is_retry', 'phase', 'waiting', 'crashes')
if outcome == 'failed' and pending == 0 then
  redis.call('HSET', state, 'failed', 1)
end
redis.call('DEL', partial)
for _, key in ipairs({document, state, ids}) do
  redis.call('EXPIRE', key, ttl)
end
if owner == '' then
  redis.call('HDEL', state, 'owner', 'lease_expires_at')
end
if pending == 0 then
  redis.call('HDEL', state, 'owner', 'lease_expires_at')
  redis.call('ZREM', pending_index, conversation)
  redis.call('EXPIRE', events, quiet)
end
return pending
