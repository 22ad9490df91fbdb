-- Opens a conversation for a reader and counts that as use: at one instant, the reply in progress and where the stream
-- ends, and the document's end too, unless the stream still has all that came after the reader's cursor.
-- KEYS document, events, state, ids, partial
-- ARGV ttl (s), the reader's cursor ('' if it has none), messages to read
-- Returns nil if there is no such conversation, or {the document's parts (JSON) or '', fields of the state, partial,
--      the last event's cursor or '', now (ms)}.
local document, events, state, ids, partial = unpack(KEYS)
local ttl, after, most = unpack(ARGV)

if redis.call('EXISTS', document) == 0 then
  return nil
end
local parts = ''
if after == '' or #redis.call('XRANGE', events, after, after) == 0 then
  parts = redis.call('JSON.GET', document, '$.token', '$.name', '$.session_start', '$.messages[-' .. most .. ':]')
end
local fields = redis.call('HMGET', state, 'pending', 'count', 'is_retry', 'retry', 'phase', 'waiting', 'owner',
  'lease_expires_at')
local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
refresh_ttl({document, state, ids, partial}, ttl)
return {parts, fields, redis.call('GET', partial) or '', last and last[1] or '', clock()}
