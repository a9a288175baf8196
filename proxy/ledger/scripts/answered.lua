#!lua flags=allow-oom
-- KEYS clock, call; ARGV how long ago in us. Answers 1, or 0 when there was nothing to do.
local now = clock()
local found = redis.call('HMGET', KEYS[2], 'r', 'a')
if not found[1] or found[2] then
  return 0
end
local at = math.max(tonumber(found[1]), math.floor((now - tonumber(ARGV[1])) / 1000))
redis.call('HSET', KEYS[2], 'a', text(at))
return 1
