-- Adds to many replies in one go, and notifies of what was added; each item names the lease that allows it and the
-- place it belongs. Safe to send again after a lost answer: text that is there already is not added twice.
-- KEYS per item: state, events, partial
-- ARGV per item: conversation, owner, offset (bytes already written), text, event,
--      waiting ('' leaves it, '-' ends it, else JSON)
-- Returns per item 1, or 0 if the lease is lost or the text would leave a gap.
local result, all = {}, {}
for i = 1, #KEYS / 3 do
  local state, events, partial = KEYS[i * 3 - 2], KEYS[i * 3 - 1], KEYS[i * 3]
  local a = i * 6 - 5
  local text, event, waiting = ARGV[a + 3], ARGV[a + 4], ARGV[a + 5]
  local ok = redis.call('HGET', state, 'owner') == ARGV[a + 1]
  local fresh = true
  if ok and text ~= '' then
    local offset = tonumber(ARGV[a + 2])
    local have = redis.call('STRLEN', partial)
    ok = have == offset or have == offset + #text
    fresh = have == offset
    if ok and fresh then
      redis.call('APPEND', partial, text)
      if offset == 0 then
        redis.call('EXPIRE', partial, redis.call('TTL', state))
      end
    end
  end
  if ok and fresh then
    local _, notification = append(ARGV[a], events, event)
    all[#all + 1] = notification
    if waiting == '-' then
      redis.call('HSET', state, 'phase', 'writing')
      redis.call('HDEL', state, 'waiting')
    elseif waiting ~= '' then
      redis.call('HSET', state, 'phase', 'waiting', 'waiting', waiting)
    end
  end
  result[i] = ok and 1 or 0
end
if #all > 0 then
  notify(KEYS[1], table.concat(all, '\n'))
end
return result
