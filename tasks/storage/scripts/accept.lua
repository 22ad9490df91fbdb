-- Accepts a person's message: into the document, the stream and the index of pending conversations, at once.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, message id, message (JSON), event, ttl (s), recovery delay (ms),
--      messages that fit (0: any number), messages that may wait, id that the reply will have, lease (ms)
-- Returns {"gone"}, {"known", cursor, message (JSON, '' if an edit has replaced it)}, {"taken"}, {"full"}, {"busy"}
--      or {"accepted", cursor, 1 if a worker holds the conversation and will come to this message, else 0}.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, id, message, event, ttl, delay, most, most_pending, reply, lease = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return {'gone'}
end
local entry = redis.call('HGET', ids, id)
if entry then
  local cursor = string.match(entry, '^message (%S+)')
  if not cursor then
    return {'taken'}
  end
  local at = position(document, ids, id)
  return {'known', cursor, at and read(document, '$.messages[' .. at .. ']') or ''}
end
-- The id of the reply can be computed from the message's, so a client can have used it already.
if redis.call('HEXISTS', ids, reply) == 1 then
  return {'taken'}
end
local s = redis.call('HMGET', state, 'count', 'pending', 'is_retry', 'owner', 'lease_expires_at')
local count, pending, is_retry = tonumber(s[1]) or 0, tonumber(s[2]) or 0, tonumber(s[3]) or 0
-- Every message that waits will get a reply, and so will this one.
if most ~= '0' and count + pending - is_retry + 2 > tonumber(most) then
  return {'full'}
end
if pending >= tonumber(most_pending) then
  return {'busy'}
end

local now = clock()
redis.call('JSON.ARRAPPEND', document, '$.messages', message)
local cursor, notification = append(conversation, events, event)
notify(document, notification)
redis.call('HSET', ids, id, 'message ' .. cursor .. ' ' .. count .. ' ' .. count + pending, reply, 'reply ' .. id)
redis.call('HSET', state, 'count', count + 1, 'pending', pending + 1)
if pending == 0 then
  redis.call('HSET', state, 'pending_since', now)
  redis.call('HDEL', state, 'failed')
end
redis.call('ZADD', pending_index, 'NX', now + delay, conversation)
refresh_ttl({document, events, state, ids, partial}, ttl)
return {'accepted', cursor, pending > 0 and is_leased(s[4], s[5], now, lease) and 1 or 0}
