-- Puts a new message in the place of the last one and of its reply, to be answered anew.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, id of the message to replace, id of the new one, the new one (JSON), event, ttl (s),
--      recovery delay (ms), id that the reply will have
-- Returns {"gone"}, {"known", cursor, message (JSON, '' if another edit has replaced it)}, {"taken"}, {"busy"},
--      {"not_last"} or {"accepted", cursor}.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, to, id, message, event, ttl, delay, reply = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return {'gone'}
end
local entry = redis.call('HGET', ids, id)
if entry then
  local replaced, cursor = string.match(entry, '^edit (%S+) (%S+)')
  if replaced ~= to then
    return {'taken'}
  end
  local at = position(document, ids, id)
  return {'known', cursor, at and read(document, '$.messages[' .. at .. ']') or ''}
end
if redis.call('HEXISTS', ids, reply) == 1 then
  return {'taken'}
end
local s = redis.call('HMGET', state, 'count', 'pending')
if (tonumber(s[2]) or 0) > 0 then
  return {'busy'}
end
local last, answered = last_exchange(document)
if last ~= to then
  return {'not_last'}
end

local now, index = clock(), s[1] - 1 - answered
if answered == 1 then
  redis.call('JSON.DEL', document, '$.messages[' .. index + 1 .. ']')
end
redis.call('JSON.SET', document, '$.messages[' .. index .. ']', message)
local cursor, notification = append(conversation, events, event)
notify(document, notification)
local where = ' ' .. cursor .. ' ' .. index .. ' ' .. index
redis.call('HSET', ids, id, 'edit ' .. to .. where, reply, 'reply ' .. id)
redis.call('HDEL', ids, 'stop:' .. to)
redis.call('HSET', state, 'count', index + 1, 'pending', 1, 'pending_since', now)
redis.call('HDEL', state, 'failed')
redis.call('ZADD', pending_index, now + delay, conversation)
refresh_ttl({document, events, state, ids, partial}, ttl)
return {'accepted', cursor}
