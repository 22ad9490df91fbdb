-- Ends the reply in turn, for `finish` and `stop`: into the document and the stream at once, with exactly the text
-- that was shown. A retry or a continue that is stopped before it brought a word leaves the earlier reply as it is;
-- the event then brings that one.
-- keys: document, events, state, ids, partial, pending_index
-- outcome: "finished", "stopped" or "failed"; fields: JSON that follows the reply's id, up to the value of `text`;
-- event: the event's JSON in front of the message or of the failure's fields; ttl (s); quiet: ttl of the stream once
-- nothing waits (s).
-- Returns how many messages still wait.
local function end_reply(keys, conversation, reply, outcome, fields, event, ttl, quiet)
  local document, events, state, ids, partial, pending_index = unpack(keys)
  local s = redis.call('HMGET', state, 'pending', 'count', 'is_retry', 'failed', 'grows_from')
  local pending, is_retry = tonumber(s[1]), tonumber(s[3]) or 0
  local asked = s[2] - pending - is_retry
  local place = '$.messages[' .. asked + 1 .. ']'
  local failure = '$.messages[' .. asked .. '].failed'

  local text = redis.call('GET', partial) or ''
  local body = '{"id":' .. cjson.encode(reply) .. ',' .. fields .. cjson.encode(text) .. '}'
  if outcome == 'failed' then
    redis.call('JSON.SET', document, failure, body)
  else
    if s[4] then
      redis.call('JSON.DEL', document, failure)
      redis.call('HDEL', state, 'failed')
    end
    if is_retry == 1 and outcome == 'stopped' and #text == (tonumber(s[5]) or 0) then
      body = read(document, place)
    elseif is_retry == 1 then
      redis.call('JSON.SET', document, place, body)
    else
      if pending == 1 then
        redis.call('JSON.ARRAPPEND', document, '$.messages', body)
      else
        redis.call('JSON.ARRINSERT', document, '$.messages', asked + 1, body)
      end
      redis.call('HINCRBY', state, 'count', 1)
    end
  end
  -- A failure's fields stand in the event itself, a message in its own object.
  local payload = outcome == 'failed' and event .. string.sub(body, 2) or event .. body .. '}'
  local _, notification = append(conversation, events, payload)
  notify(document, notification)

  pending = redis.call('HINCRBY', state, 'pending', -1)
  redis.call('HSET', state, 'last', reply)
  redis.call('HDEL', state, 'reply', 'retry', 'is_retry', 'grows_from', 'phase', 'waiting', 'crashes')
  redis.call('DEL', partial)
  refresh_ttl({document, events, state, ids}, ttl)
  if pending == 0 then
    if outcome == 'failed' then
      redis.call('HSET', state, 'failed', 1)
    end
    redis.call('HDEL', state, 'owner', 'lease_expires_at')
    redis.call('ZREM', pending_index, conversation)
    redis.call('EXPIRE', events, math.min(quiet, ttl))
  end
  return pending
end

