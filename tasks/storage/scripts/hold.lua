-- Counts a socket that a web process would keep open, unless the living processes together then held more than they may.
-- KEYS alive, where a process' counts are (hash; its name follows)
-- ARGV process, lifetime of its counts (ms), then for each name: name, held by it with this socket, most (0: any)
-- Returns 1, or 0 if it is one too many.
local own = KEYS[2] .. ARGV[1]
local alive = redis.call('ZRANGE', KEYS[1], 0, -1)
for i = 3, #ARGV, 3 do
  local held, most = tonumber(ARGV[i + 1]), tonumber(ARGV[i + 2])
  for _, process in ipairs(alive) do
    if process ~= ARGV[1] and string.sub(process, 1, 4) == 'web:' then
      held = held + tonumber(redis.call('HGET', KEYS[2] .. process, ARGV[i]) or 0)
    end
  end
  if most > 0 and held > most then
    return 0
  end
end
for i = 3, #ARGV, 3 do
  redis.call('HSET', own, ARGV[i], ARGV[i + 1])
end
redis.call('PEXPIRE', own, ARGV[2])
return 1
