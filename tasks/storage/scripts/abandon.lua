-- Leaves a conversation to itself: its lease ends, and nobody looks for it until a person does something there again.
-- KEYS state, open
-- ARGV conversation, owner
-- Returns 1 if the lease was the caller's.
local state, open = KEYS[1], KEYS[2]
if redis.call('HGET', state, 'owner') ~= ARGV[2] then
  return 0
end
redis.call('HDEL', state, 'owner', 'until')
redis.call('ZREM', open, ARGV[1])
return 1
