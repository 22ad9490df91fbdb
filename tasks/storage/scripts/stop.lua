-- Stops the reply to a message. The one in turn ends with what was shown of it, and whoever writes it has lost the
-- lease; one that waits is marked, and ends when its turn comes.
-- KEYS document, events, state, ids, partial, pending_index
-- ARGV conversation, id of the message, id that its reply has unless it is a retry, fields, event, ttl (s), quiet (s):
--      see `end_reply`
-- Returns -3 if the conversation is gone, -2 if it is too late, -1 if the message is marked, else how many messages
--      still wait.
local document, state, ids = KEYS[1], KEYS[3], KEYS[4]
local conversation, to, reply, fields, event, ttl, quiet = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return -3
end
local s = redis.call('HMGET', state, 'pending', 'count', 'is_retry', 'retry', 'last', 'owner')
local pending, is_retry = tonumber(s[1]) or 0, tonumber(s[3]) or 0
if pending == 0 then
  return -2
end
local asked = s[2] - pending - is_retry
local waiting = cjson.decode(redis.call('JSON.GET', document, '$.messages[' .. asked .. ':].id'))
if waiting[1] ~= to then
  for n = 2 + is_retry, #waiting do
    if waiting[n] == to then
      redis.call('HSET', ids, 'stop:' .. to, 1)
      return -1
    end
  end
  -- It has ended already, and nobody goes on with those that wait: an answer was lost.
  return s[5] == reply and not s[6] and pending or -2
end
local left = end_reply(KEYS, conversation, s[4] or reply, 'stopped', fields, event, ttl, quiet)
redis.call('HDEL', state, 'owner', 'lease_expires_at')
return left
