-- Gives a lease back before the work is done, so that the next worker may go on at once.
-- KEYS state, pending_index
-- ARGV conversation, owner
-- Returns 1 if the lease was the caller's.
local state, pending_index = KEYS[1], KEYS[2]
if redis.call('HGET', state, 'owner') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', state, 'owner', 'lease_expires_at')
redis.call('ZADD', pending_index, clock(), ARGV[1])
return 1
