#!lua
-- KEYS clock, call; ARGV ref, owner, epoch of the lease, version, state.
-- Answers 1, or 0 when the call is not the owner's or a later version stands there.
local found = redis.call('HMGET', KEYS[2], 'r', 'o', 'e', 'v')
if not found[1] or found[2] ~= ARGV[2] or found[3] ~= ARGV[3] or tonumber(found[4] or 0) >= tonumber(ARGV[4]) then
  return 0
end
redis.call('HSET', KEYS[2], 'v', ARGV[4])
redis.call('SET', prefix .. 'x:' .. ARGV[1], ARGV[5])
return 1
