-- What several scripts share; it stands before each of them.

-- Redis' clock, in milliseconds.
local function clock()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Whether somebody holds a lease. One that ends later than a lease can last was taken before the clock was set back,
-- so it is over.
local function is_leased(owner, expires_at, now, lease)
  local left = (tonumber(expires_at) or 0) - now
  return owner and left > 0 and left <= 2 * lease
end

-- All keys of a conversation live and die together.
local function refresh_ttl(keys, ttl)
  for _, key in ipairs(keys) do
    redis.call('EXPIRE', key, ttl)
  end
end

-- The JSON at a path of the document that leads to one place at most; nil if nothing is there.
local function read(document, path)
  local found = redis.call('JSON.GET', document, path)
  if found and found ~= '[]' then
    return string.sub(found, 2, -2)
  end
end

-- The id of the last message that a person sent (nil if there is none), and 1 if a reply to it is there, else 0.
local function last_exchange(document)
  local to = read(document, '$.messages[-1].to')
  local id = to or read(document, '$.messages[-1].id')
  return id and string.sub(id, 2, -2), to and 1 or 0
end

-- Why a wish about the last reply, to be made once for each id, is not carried out: "gone", "known" (it was carried out
-- before: `use` is what `ids` says of the id then), "taken" (the id means something else), "busy", or nil.
local function refusal_of_wish(document, state, ids, id, use)
  if redis.call('EXISTS', document) == 0 then
    return 'gone'
  end
  local entry = redis.call('HGET', ids, id)
  if entry then
    return entry == use and 'known' or 'taken'
  end
  if (tonumber(redis.call('HGET', state, 'pending')) or 0) > 0 then
    return 'busy'
  end
end

-- Where a message or a reply stands in the document; nil if it is not there. The hash `ids` tells where a message
-- stood when it was accepted; only replies to messages that waited before it can have come in front of it since.
local function position(document, ids, id)
  local entry = redis.call('HGET', ids, id) or ''
  local to = string.match(entry, '^reply (.+)') or string.match(entry, '^retry (.+)')
  if to then
    entry = redis.call('HGET', ids, to) or ''
  end
  local first, last = string.match(entry, ' (%d+) (%d+)$')
  local found = first and redis.call('JSON.GET', document, '$.messages[' .. first .. ':' .. last + 2 .. '].id')
  for offset, one in ipairs(found and cjson.decode(found) or {}) do
    if one == id then
      return first + offset - 1
    end
  end
end

-- Adds an event to its conversation's stream. Returns the event's cursor and its notification: conversation, cursor of
-- the event before it, its own, and the event. A tail that stands at the one before passes it on without reading the
-- stream. The notification of a long event is the conversation alone; the tail then reads the stream.
local function append(conversation, events, event)
  local last = redis.call('XREVRANGE', events, '+', '-', 'COUNT', 1)[1]
  local cursor = redis.call('XADD', events, '*', 'e', event)
  if #event > 4096 then
    return cursor, conversation
  end
  return cursor, conversation .. ' ' .. (last and last[1] or '0-0') .. ' ' .. cursor .. ' ' .. event
end

-- Publishes notifications, one a line, on the channel of a key's shard: it has the key's tag, so on a Redis Cluster it
-- belongs to the same slot.
local function notify(key, notifications)
  redis.call('SPUBLISH', string.match(key, '^parley:{.-}:') .. 'events', notifications)
end

