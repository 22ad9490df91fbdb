-- What every script begins with that has something to tell: an event goes into its conversation's stream, and rings.

-- Returns the event's cursor and its notification: conversation, cursor of the event before it, its own, and the event. A tail
-- that stands at the one before passes it on without reading the stream. Of a long event it hears the conversation
-- alone, and reads it.
local function append(conversation, events, event)
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local cursor = redis.call('XADD', events, '*', 'e', event)
  if #event > 4096 then
    return cursor, conversation
  end
  return cursor, conversation .. ' ' .. (last and last[1] or '0-0') .. ' ' .. cursor .. ' ' .. event
end

-- Tells every tail; a line for each notification.
local function notify(notification)
  redis.call('PUBLISH', 'parley:bell', notification)
end

