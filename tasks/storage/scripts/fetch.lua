-- Takes the first message off the queue. Whoever has it may die: what is left to do stands in the conversation's own
-- state, and a sweep finds it there.
-- KEYS queue (ids of messages), messages
-- Returns {message, how many are left behind it}, or nil.
local id = redis.call('LPOP', KEYS[1])
if not id then
  return nil
end
local message = redis.call('HGET', KEYS[2], id)
redis.call('HDEL', KEYS[2], id)
return {message, redis.call('LLEN', KEYS[1])}
