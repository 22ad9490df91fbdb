-- Ends the reply in turn as finished, stopped or failed, by the holder of the lease.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, owner, reply id, outcome, fields, event, ttl (s), quiet (s): see `end_reply`
-- Returns -1 if the lease is lost, else how many messages still wait.
local state = KEYS[3]
local conversation, owner, reply, outcome, fields, event, ttl, quiet = unpack(ARGV)

local s = redis.call('HMGET', state, 'owner', 'pending', 'last', 'reply', 'retry')
local pending = tonumber(s[2]) or 0
-- It has ended already, and is not in turn again to be continued: an answer was lost.
if s[3] == reply and s[4] ~= reply and s[5] ~= reply then
  return pending
end
if pending == 0 or s[1] ~= owner then
  return -1
end
return end_reply(KEYS, conversation, reply, outcome, fields, event, ttl, quiet)
