#!lua flags=allow-oom
-- KEYS clock, leases; ARGV 'calls', or 'windows' and scope ids.
-- Answers what was wrong: {scope, what, was, is}. Places and holds are proved by the live calls. Of a sum and its ring
-- that differ neither is proof, and the larger stands.
local now = clock()
if ARGV[1] == 'calls' then
  return recount(nil)
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
