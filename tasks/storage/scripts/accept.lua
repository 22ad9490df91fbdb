-- Accepts a person's message: into the document, the stream and the index of pending conversations, at once.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, message id, message (JSON), event, ttl (s), patience (ms) before a sweep looks,
--      messages that fit (0: any number), id that its reply will have
-- Returns {"gone"}, {"known", cursor}, {"taken"}, {"full"} or {"accepted", cursor}.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, id, message, event, ttl, patience, most, reply = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return {'gone'}
end
local known = redis.call('HGET', ids, id)
if known == 'reply' or (known and string.sub(known, 1, 6) == 'retry:') then
  return {'taken'}
end
if known then
  return {'known', known}
end
-- The id of the reply can be computed from the message's, so a client can have used it already.
if redis.call('HEXISTS', ids, reply) == 1 then
  return {'taken'}
end
if most ~= '0' and tonumber(redis.call('HGET', state, 'count') or 0) >= tonumber(most) then
  return {'full'}
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('JSON.ARRAPPEND', document, '$.messages', message)
local cursor, notification = append(conversation, events, event)
notify(notification)
redis.call('HSET', ids, id, cursor, reply, 'reply')
redis.call('HINCRBY', state, 'count', 1)
if redis.call('HINCRBY', state, 'pending', 1) == 1 then
  redis.call('HSET', state, 'pending_since', now)
  redis.call('HDEL', state, 'failed')
end
redis.call('ZADD', pending_index, 'NX', now + patience, conversation)
for _, key in ipairs({document, events, state, ids, partial}) do
  redis.call('EXPIRE', key, ttl)
end
return {'accepted', cursor}
