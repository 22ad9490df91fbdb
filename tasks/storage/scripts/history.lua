-- Reads the messages before another one.
-- KEYS document, ids
-- ARGV id of the other one, how many messages at most
-- Returns nil if the conversation is gone, {} if it has no such message, else {messages (a JSON list), how many are
--      still before these}.
local document, ids = KEYS[1], KEYS[2]
if redis.call('EXISTS', document) == 0 then
  return nil
end
local at = position(document, ids, ARGV[1])
if not at then
  return {}
end
local first = math.max(0, at - ARGV[2])
return {redis.call('JSON.GET', document, '$.messages[' .. first .. ':' .. at .. ']'), first}
