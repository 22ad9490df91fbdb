-- Asks for another answer to the last human message; its earlier reply stays until the new one is whole.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, id that the new reply will have, id of the message, ttl (s), recovery delay (ms)
-- Returns "gone", "known", "taken", "busy", "not_last" or "accepted".
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, id, to, ttl, delay = unpack(ARGV)

local refusal = refusal_of_wish(document, state, ids, id, 'retry ' .. to)
if refusal then
  return refusal
end
local last, answered = last_exchange(document)
if last ~= to then
  return 'not_last'
end

local now = clock()
redis.call('HSET', state, 'pending', 1, 'pending_since', now, 'retry', id, 'is_retry', answered)
redis.call('HSET', ids, id, 'retry ' .. to)
redis.call('HDEL', ids, 'stop:' .. to)
redis.call('ZADD', pending_index, now + delay, conversation)
refresh_ttl({document, events, state, ids, partial}, ttl)
return 'accepted'
