-- Lets one of those who look enqueue a conversation again that waits without a live lease.
-- The longer it has waited, the later the next look, so that a long queue does not fill with repeats; but no
-- later than `longest`, for the repeat may be lost as well.
-- KEYS state, pending_index
-- ARGV conversation, patience (ms), longest (ms)
-- Returns 1 if the caller should enqueue it.
local state, pending_index = KEYS[1], KEYS[2]
local score = redis.call('ZSCORE', pending_index, ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
-- A time further ahead than any that is set here is from before the clock was set back.
local far = now + ARGV[2] + ARGV[3]
if not score or (tonumber(score) > now and tonumber(score) <= far) then
  return 0
end
local s = redis.call('HMGET', state, 'pending', 'owner', 'lease_expires_at', 'pending_since')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', pending_index, ARGV[1])
  return 0
end
if s[2] and tonumber(s[3]) > now then
  redis.call('ZADD', pending_index, s[3], ARGV[1])
  return 0
end
local waited = now - (tonumber(s[4]) or now)
redis.call('ZADD', pending_index, now + math.max(ARGV[2], math.min(waited, ARGV[3])), ARGV[1])
return 1
