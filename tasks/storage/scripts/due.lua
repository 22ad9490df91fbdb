-- Finds conversations that wait for a reply and are due to be looked at, by this server's own clock.
-- KEYS pending_index per shard
-- ARGV conversations per shard at most, longest delay that is ever written (ms)
-- Returns per shard the conversations. An entry further ahead than the longest delay was written before the clock was
--      set back, so it is due as well.
local most, longest = unpack(ARGV)
local now = clock()
local result = {}
for shard, pending_index in ipairs(KEYS) do
  local due = redis.call('ZRANGE', pending_index, '-inf', now, 'BYSCORE', 'LIMIT', 0, most)
  for _, conversation in ipairs(redis.call('ZRANGE', pending_index, now + longest, '+inf', 'BYSCORE', 'LIMIT', 0, most)) do
    due[#due + 1] = conversation
  end
  result[shard] = due
end
return result
