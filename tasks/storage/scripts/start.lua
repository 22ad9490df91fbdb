-- Begins a reply, once: a worker that takes over writes no second start event. One that is continued begins
-- with the words that it has already, in an event of their own.
-- KEYS document, events, state, ids, partial
-- ARGV conversation, owner, reply id, id of the message it answers, event
-- Returns 0 if the lease is lost, 2 if the reply was stopped before its turn, else 1.
local document, events, state, ids, partial = unpack(KEYS)
local conversation, owner, reply, to, event = unpack(ARGV)

local s = redis.call('HMGET', state, 'owner', 'reply', 'failed', 'count', 'pending', 'is_retry', 'grows_from')
if s[1] ~= owner then
  return 0
end
if redis.call('HEXISTS', ids, 'stop:' .. to) == 1 then
  return 2
end
if s[2] == reply then
  -- The worker before may have waited for the model; this one asks again, so clear the waiting state.
  redis.call('HSET', state, 'phase', 'writing')
  redis.call('HDEL', state, 'waiting')
  return 1
end
if s[3] then
  redis.call('JSON.DEL', document, '$.messages[' .. s[4] - s[5] - (tonumber(s[6]) or 0) .. '].failed')
  redis.call('HDEL', state, 'failed')
end
redis.call('HSET', state, 'reply', reply, 'phase', 'writing')
-- Once a reply is enough: it brings some hundred events, and none of its own writes has to count them.
redis.call('XTRIM', events, 'MAXLEN', '~', '2000')
local _, notification = append(conversation, events, event)
notify(document, notification)
if s[7] then
  local id, text = cjson.encode(reply), cjson.encode(redis.call('GET', partial))
  _, notification = append(conversation, events, '"type":"reply.delta","id":' .. id .. ',"text":' .. text .. '}')
  notify(document, notification)
end
-- The stream of a quiet conversation is gone and begins anew here; it must not outlive the rest.
redis.call('EXPIRE', events, redis.call('TTL', state))
return 1
