-- Begins a conversation, with its lifetime.
-- KEYS document
-- ARGV document (JSON), ttl (s)
redis.call('JSON.SET', KEYS[1], '$', ARGV[1])
return redis.call('EXPIRE', KEYS[1], ARGV[2])
