-- Lets one caller enqueue a conversation again that waits without a live lease.
-- The longer it has waited, the later the next look, so that a long queue does not fill with repeats; but no later than
-- `longest`, for the repeat may be lost as well. A look that is due later than that was set before the clock was set
-- back, so it is due now.
-- KEYS state, pending_index
-- ARGV conversation, patience (ms), longest (ms), lease (ms)
-- Returns 1 if the caller should enqueue it.
local state, pending_index = KEYS[1], KEYS[2]
local conversation, patience, longest, lease = unpack(ARGV)

local score = redis.call('ZSCORE', pending_index, conversation)
local now = clock()
if not score or (tonumber(score) > now and tonumber(score) <= now + longest + patience) then
  return 0
end
local s = redis.call('HMGET', state, 'pending', 'owner', 'lease_expires_at', 'pending_since')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', pending_index, conversation)
  return 0
end
if held(s[2], s[3], now, lease) then
  redis.call('ZADD', pending_index, s[3], conversation)
  return 0
end
local waited = now - (tonumber(s[4]) or now)
redis.call('ZADD', pending_index, now + math.max(patience, math.min(waited, longest)), conversation)
return 1
