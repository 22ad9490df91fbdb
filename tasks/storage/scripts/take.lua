-- Takes the lease of a conversation that has something to answer and that nobody else is answering.
-- KEYS state, partial, pending_index
-- ARGV conversation, owner, lease (ms)
-- Returns nil, or {pending, count, is_retry, retry, partial, pending_since}.
local state, partial, pending_index = KEYS[1], KEYS[2], KEYS[3]
local conversation, owner, lease = unpack(ARGV)

local s = redis.call('HMGET', state, 'pending', 'count', 'is_retry', 'retry', 'owner', 'lease_expires_at', 'pending_since')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', pending_index, conversation)
  return nil
end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if s[5] and s[5] ~= owner and tonumber(s[6]) > now then
  return nil
end
redis.call('HSET', state, 'owner', owner, 'lease_expires_at', now + lease)
redis.call('ZADD', pending_index, now + lease, conversation)
return {s[1], s[2], s[3] or '0', s[4] or '', redis.call('GET', partial) or '', s[7] or '0'}
