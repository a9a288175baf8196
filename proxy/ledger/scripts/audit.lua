#!lua flags=allow-oom
-- KEYS clock, leases; ARGV 'calls', or 'windows' and scope ids.
-- Answers what was wrong: {scope, what, was, is}. Places and holds are proved by the live calls. Of a sum and its ring
-- that differ neither is proof, and the larger stands.
local now = clock()
if ARGV[1] == 'calls' then
  local every = {}
  for _, id in ipairs(redis.call('SMEMBERS', prefix .. 'scopes')) do
    every[id] = true
  end
  for _, ref in ipairs(redis.call('ZRANGE', KEYS[2], 0, -1)) do
    local found = redis.pcall('HMGET', prefix .. 'k:' .. ref, '1', '2', '3', '4')
    for i = 1, found.err and 0 or 4 do
      if found[i] then
        every[found[i]] = true
      end
    end
  end
  return recount(every)
end
local wrong = {}
for i = 2, #ARGV do
  local id = ARGV[i]
  local scope = scope_at(id, now)
  local rolling, _, oldest = ring_of(id, now)
  if rolling ~= scope.rolling then
    wrong[#wrong + 1] = {id, 'window', scope.rolling, math.max(rolling, scope.rolling)}
    if rolling < scope.rolling then
      local today, sum = scope.today, scope.rolling
      land(scope, sum - rolling)
      scope.today, scope.rolling = today, sum
      oldest = oldest < 0 and scope.minute or oldest
    else
      scope.rolling, scope.landed = rolling, true
    end
    scope.oldest = oldest
    store(scope)
  end
end
return wrong
