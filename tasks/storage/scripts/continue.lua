-- Asks for more of the last reply, which was cut off at its length or stopped. It stays in the document as it is until
-- the longer one is whole; its words are the beginning of the reply in progress.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, id of this wish, id of the message that the reply answers, ttl (s), recovery delay (ms),
--      bytes from which on a reply grows no more
-- Returns "gone", "known", "taken", "busy", "whole" (nothing can grow) or "accepted".
local document, events, state, ids, partial, pending_index = unpack(KEYS)
local conversation, id, to, ttl, delay, most = unpack(ARGV)

local refusal = refusal_of_wish(document, state, ids, id, 'continue ' .. to)
if refusal then
  return refusal
end
local reply = cjson.decode(read(document, '$.messages[-1]') or '{}')
local cut = reply.finish_reason == 'length' or reply.finish_reason == 'stopped'
if reply.to ~= to or not cut or reply.text == '' or #reply.text >= tonumber(most) then
  return 'whole'
end

local now = clock()
redis.call('SET', partial, reply.text)
redis.call('HSET', state, 'pending', 1, 'pending_since', now, 'retry', reply.id, 'is_retry', 1, 'grows_from', #reply.text)
redis.call('HSET', ids, id, 'continue ' .. to)
redis.call('HDEL', ids, 'stop:' .. to)
redis.call('ZADD', pending_index, now + delay, conversation)
refresh_ttl({document, events, state, ids, partial}, ttl)
return 'accepted'
