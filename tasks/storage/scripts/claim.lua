-- Lets one caller enqueue a conversation again that waits without a live lease.
-- The longer the conversation has waited, the later recovery looks again, so that a long queue does not fill with
-- repeats; but no later than the maximum, since a repeat may be lost as well. A time further ahead than that was written
-- before Redis' clock was set back, so it counts as over.
-- KEYS state, pending_index
-- ARGV conversation, recovery delay (ms), maximum recovery delay (ms), lease (ms)
-- Returns 1 if the caller should enqueue it.
local state, pending_index = KEYS[1], KEYS[2]
local conversation, delay, max_delay, lease = unpack(ARGV)

local score = redis.call('ZSCORE', pending_index, conversation)
local now = clock()
if not score or (tonumber(score) > now and tonumber(score) <= now + max_delay + delay) then
  return 0
end
local s = redis.call('HMGET', state, 'pending', 'owner', 'lease_expires_at', 'pending_since')
if (tonumber(s[1]) or 0) == 0 then
  redis.call('ZREM', pending_index, conversation)
  return 0
end
if is_leased(s[2], s[3], now, lease) then
  redis.call('ZADD', pending_index, s[3], conversation)
  return 0
end
local waited = now - (tonumber(s[4]) or now)
redis.call('ZADD', pending_index, now + math.max(delay, math.min(waited, max_delay)), conversation)
return 1
