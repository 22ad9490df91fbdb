-- Deletes a conversation. Its readers get an event, and its writer loses the lease.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, event
-- Returns 1 if there was one.
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local there = redis.call('DEL', document)
redis.call('DEL', state, ids, partial)
redis.call('ZREM', pending_index, ARGV[1])
if there == 1 then
  local _, notification = append(ARGV[1], events, ARGV[2])
  notify(document, notification)
  redis.call('EXPIRE', events, 60)
end
return there
