-- Adds a process's counts to the totals of all processes, once however often they are sent.
-- KEYS totals (hash), number of the process's last batch (string)
-- ARGV number of this batch, lifetime of that number (s), then name and amount of each count
-- Returns 1, or 0 if this batch was added before.
if redis.call('GET', KEYS[2]) == ARGV[1] then
  return 0
end
redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])
for i = 3, #ARGV, 2 do
  redis.call('HINCRBYFLOAT', KEYS[1], ARGV[i], ARGV[i + 1])
end
return 1
