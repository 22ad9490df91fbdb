-- Takes the lease of a conversation that has something to answer and that nobody else is answering, and reads the
-- message that is in turn and those before it. They stay where they are, whatever is said meanwhile.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, owner, lease (ms), ttl (s), messages to read
-- Returns nil, or {pending, count, is_retry, retry, partial, pending_since (ms), bytes of partial that the reply had
--      before it was continued, JSON of an array with the person's name, JSON of an array with the messages, oldest
--      first}.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, owner, lease, ttl, most = unpack(ARGV)

local s = redis.call('HMGET', state, 'pending', 'count', 'is_retry', 'retry', 'owner', 'lease_expires_at',
  'pending_since', 'grows_from')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', pending_index, conversation)
  return nil
end
local now = clock()
if s[5] ~= owner and is_leased(s[5], s[6], now, lease) then
  return nil
end
local index = s[2] - s[1] - (tonumber(s[3]) or 0)
local messages = redis.call('JSON.GET', document,
  '$.messages[' .. math.max(0, index + 1 - most) .. ':' .. index + 1 .. ']')
if not messages then
  return nil
end
redis.call('HSET', state, 'owner', owner, 'lease_expires_at', now + lease)
redis.call('ZADD', pending_index, now + lease, conversation)
refresh_ttl({document, events, state, ids, partial}, ttl)
return {s[1], s[2], s[3] or '0', s[4] or '', redis.call('GET', partial) or '', s[7] or '0', s[8] or '0',
  redis.call('JSON.GET', document, '$.name'), messages}
