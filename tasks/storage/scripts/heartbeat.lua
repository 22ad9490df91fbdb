-- Leaves a process's heartbeat and reads those of all.
-- KEYS alive
-- ARGV process, its clock (ms)
-- Returns the processes and their heartbeats, one after the other.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
