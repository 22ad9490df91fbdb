-- What every script begins with that has something to tell: an event goes into its conversation's stream, and rings.

-- Returns the event's cursor and its news: the cursor before it, its own, and the event. A tail that stands at the one
-- before passes it on without reading the stream. Of a long event there is no news, and it is read.
local function append(events, event)
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local cursor = redis.call('XADD', events, 'MAXLEN', '~', '2000', '*', 'e', event)
  if #event > 4096 then
    return cursor, ''
  end
  return cursor, (last and last[1] or '0-0') .. ' ' .. cursor .. ' ' .. event
end

-- Rings for pairs of conversation and news.
local function ring(rings, ...)
  redis.call('XADD', rings, 'MAXLEN', '~', '500', '*', ...)
end

