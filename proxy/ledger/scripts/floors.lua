#!lua flags=allow-oom
-- KEYS clock, epoch; ARGV the epoch to be; then of each scope: window, id, what was spent in it when it was last seen.
-- Kept until the epoch opens: no sum is lower then, when the server was emptied.
if redis.call('HGET', KEYS[2], 'next') ~= ARGV[1] then
  return 0
end
for i = 2, #ARGV, 3 do
  local field = 'f:' .. ARGV[i] .. ':' .. ARGV[i + 1]
  if tonumber(redis.call('HGET', KEYS[2], field) or 0) < tonumber(ARGV[i + 2]) then
    redis.call('HSET', KEYS[2], field, ARGV[i + 2])
  end
end
return 1
