-- Gives a lease back before the work is done, so that the next worker may go on at once.
-- KEYS state, pending_index
-- ARGV conversation, owner
-- Returns 1 if something waits that nobody answers now.
local state, pending_index = KEYS[1], KEYS[2]
local s = redis.call('HMGET', state, 'owner', 'pending')
if not s[1] then
  -- It was given back before, and the answer was lost; or a stop ended the reply.
  return (tonumber(s[2]) or 0) > 0 and 1 or 0
end
if s[1] ~= ARGV[2] then
  return 0
end
redis.call('HDEL', state, 'owner', 'lease_expires_at')
redis.call('ZADD', pending_index, clock(), ARGV[1])
return 1
