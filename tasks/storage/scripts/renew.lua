-- Prolongs the leases that one process holds.
-- KEYS per lease: state, pending_index
-- ARGV lease (ms), then per lease: conversation, owner
-- Returns per lease 1, or 0 if it is lost.
local time = redis.call('TIME')
local ends = time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[1]
local result = {}
for i = 1, #KEYS / 2 do
  local state, pending_index = KEYS[i * 2 - 1], KEYS[i * 2]
  local mine = redis.call('HGET', state, 'owner') == ARGV[i * 2 + 1]
  if mine then
    redis.call('HSET', state, 'lease_expires_at', ends)
    redis.call('ZADD', pending_index, ends, ARGV[i * 2])
  end
  result[i] = mine and 1 or 0
end
return result
