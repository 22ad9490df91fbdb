-- Forgets a conversation; who still follows it is told, whoever writes it loses the lease.
-- KEYS document, events, state, ids, partial, open
-- ARGV conversation, event
-- Returns 1 if there was one.
local document, events, state, ids, partial, open = unpack(KEYS)
local there = redis.call('DEL', document)
redis.call('DEL', state, ids, partial)
redis.call('ZREM', open, ARGV[1])
if there == 1 then
  local _, news = append(ARGV[1], events, ARGV[2])
  ring(news)
  redis.call('EXPIRE', events, 60)
end
return there
