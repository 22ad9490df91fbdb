-- Lets one of those who look enqueue a conversation again that waits without a live lease.
-- The longer it has waited, the later the next look, so that a long queue does not fill with repeats.
-- KEYS state, open
-- ARGV conversation, patience (ms)
-- Returns 1 if the caller should enqueue it.
local state, open = KEYS[1], KEYS[2]
local score = redis.call('ZSCORE', open, ARGV[1])
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
if not score or tonumber(score) > now then
  return 0
end
local s = redis.call('HMGET', state, 'pending', 'owner', 'until', 'since')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', open, ARGV[1])
  return 0
end
if s[2] and tonumber(s[3]) > now then
  redis.call('ZADD', open, s[3], ARGV[1])
  return 0
end
redis.call('ZADD', open, now + math.max(tonumber(ARGV[2]), now - (tonumber(s[4]) or now)), ARGV[1])
return 1
