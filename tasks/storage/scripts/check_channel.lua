-- Publishes nothing on a channel, to see whether a script may.
-- KEYS channel, which nobody listens to
-- Returns how many hear it.
return redis.call('SPUBLISH', KEYS[1], '')
