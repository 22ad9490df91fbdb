-- Leaves a process's beat and looks at all of them.
-- KEYS alive
-- ARGV process, its clock (ms)
-- Returns the processes and their beats, one after the other.
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
return redis.call('ZRANGE', KEYS[1], 0, -1, 'WITHSCORES')
