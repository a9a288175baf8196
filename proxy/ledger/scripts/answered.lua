#!lua flags=allow-oom
-- KEYS clock, call; ARGV ref, owner, epoch of the lease, state (or ''), how long ago in us.
-- Answers 1, or 0 when there was nothing to do or the call is somebody else's.
local now = clock()
local found = redis.call('HMGET', KEYS[2], 'r', 'a', 'o', 'e')
if not found[1] or found[2] or found[3] ~= ARGV[2] or found[4] ~= ARGV[3] then
  return 0
end
local at = math.max(tonumber(found[1]), math.floor((now - tonumber(ARGV[5])) / 1000))
redis.call('HSET', KEYS[2], 'a', text(at))
if ARGV[4] ~= '' then
  redis.call('SET', prefix .. 'x:' .. ARGV[1], ARGV[4], 'NX')
end
return 1
