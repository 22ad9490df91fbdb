-- Prolongs the leases that one process holds; a reply in progress keeps its conversation alive.
-- KEYS per lease: document, events, state, ids, partial, pending_index
-- ARGV lease (ms), ttl (s), then per lease: conversation, owner
-- Returns per lease 1, or 0 if it is lost.
local ends = clock() + ARGV[1]
local result = {}
for i = 1, #KEYS / 6 do
  local document, events, state, ids, partial, pending_index = unpack(KEYS, i * 6 - 5, i * 6)
  local mine = redis.call('HGET', state, 'owner') == ARGV[i * 2 + 2]
  if mine then
    redis.call('HSET', state, 'lease_expires_at', ends)
    redis.call('ZADD', pending_index, ends, ARGV[i * 2 + 1])
    refresh_ttl({document, events, state, ids, partial}, ARGV[2])
  end
  result[i] = mine and 1 or 0
end
return result
