-- Reserves sockets for a web process, one after the other. A socket is refused if one of its names would exceed its
-- limit over all live processes.
-- KEYS alive, where a process' counts are (hash; its name follows)
-- ARGV process, lifetime of its counts (ms), number of names, then for each name: name, held by this process, maximum
--      (0: any); then the names of each socket, by their numbers, three of them
-- Returns 1 or 0 for each socket.
local own = KEYS[2] .. ARGV[1]
local names, held, most, here = {}, {}, {}, {}
local count = tonumber(ARGV[3])
for i = 1, count do
  names[i] = ARGV[1 + 3 * i]
  here[i] = tonumber(ARGV[2 + 3 * i])
  most[i] = tonumber(ARGV[3 + 3 * i])
  held[i] = here[i]
end
for _, process in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  if process ~= ARGV[1] and string.sub(process, 1, 4) == 'web:' then
    for i, number in ipairs(redis.call('HMGET', KEYS[2] .. process, unpack(names))) do
      held[i] = held[i] + tonumber(number or 0)
    end
  end
end
local answers = {}
for i = 4 + 3 * count, #ARGV, 3 do
  local allowed = 1
  for j = i, i + 2 do
    local name = tonumber(ARGV[j])
    if most[name] > 0 and held[name] >= most[name] then
      allowed = 0
    end
  end
  for j = i, i + 2 do
    local name = tonumber(ARGV[j])
    held[name] = held[name] + allowed
    here[name] = here[name] + allowed
  end
  answers[#answers + 1] = allowed
end
for i = 1, count do
  if here[i] > 0 then
    redis.call('HSET', own, names[i], here[i])
  end
end
redis.call('PEXPIRE', own, ARGV[2])
return answers
