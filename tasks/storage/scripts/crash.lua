-- Gives a lease back after an unexpected error of its holder. The next try comes after a pause that doubles each time.
-- KEYS state, pending_index
-- ARGV conversation, owner, first pause (ms)
-- Returns how often a try has crashed since the last reply ended; 0 if somebody else has the lease.
local state, pending_index = KEYS[1], KEYS[2]
local conversation, owner, pause = unpack(ARGV)

local s = redis.call('HMGET', state, 'owner', 'crashes')
if not s[1] then
  -- It was given back before, and the answer was lost.
  return tonumber(s[2]) or 0
end
if s[1] ~= owner then
  return 0
end
redis.call('HDEL', state, 'owner', 'lease_expires_at')
local crashes = redis.call('HINCRBY', state, 'crashes', 1)
redis.call('ZADD', pending_index, clock() + pause * 2 ^ (crashes - 1), conversation)
return crashes
