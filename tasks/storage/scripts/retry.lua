-- Asks for another answer to the last human message; its earlier reply stays until the new one is whole.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, retry id, messages the caller saw, 1 if an earlier reply is there, ttl (s), patience (ms),
--      id of the message
-- Returns "gone", "known", "taken", "busy", "changed" (read again) or "accepted".
local document, events, state, ids, pending_index = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[6]
local conversation, id, count, is_retry, ttl, patience, to = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return 'gone'
end
local seen = redis.call('HMGET', state, 'pending', 'count', 'last')
local known = redis.call('HGET', ids, id)
if known == 'retry:' .. to then
  return 'known'
end
if known or seen[3] == id then
  return 'taken'
end
if (tonumber(seen[1]) or 0) > 0 then
  return 'busy'
end
if seen[2] ~= count then
  return 'changed'
end

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('HSET', state, 'pending', 1, 'pending_since', now, 'retry', id, 'is_retry', is_retry)
redis.call('HSET', ids, id, 'retry:' .. to)
redis.call('HDEL', ids, 'stop:' .. to)
redis.call('ZADD', pending_index, now + patience, conversation)
for _, key in ipairs(KEYS) do
  if key ~= pending_index then
    redis.call('EXPIRE', key, ttl)
  end
end
return 'accepted'
