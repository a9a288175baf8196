#!lua flags=allow-oom
-- KEYS clock, call; ARGV ref, cost in all, owner, epoch of the lease, what of the cost the ledger had moved already;
--      scope ids; last: how long ago this was first sent, in us.
-- Answers 1 settled, 0 when the ledger knows no such live call, 2 when it is somebody else's.
-- A call that the ledger never had, or lost, is charged at the scopes that are given: once, as its tombstone shows,
-- and therefore not when that may have gone meanwhile.
local now = clock()
local call, buried, charged = call_at(KEYS[2])
local cost = tonumber(ARGV[2])
if call then
  if call.o ~= ARGV[3] or call.e ~= ARGV[4] then
    return 2
  end
  finish(ARGV[1], call, cost, now)
  return 1
end
if redis.call('ZSCORE', prefix .. 'leases', ARGV[1]) then
  recount(nil) -- its record alone was lost: the scopes still count it
end
if not buried or charged then
  local rest = cost - math.max(tonumber(ARGV[5]), charged or 0)
  if #ARGV > 6 and rest > 0 and tonumber(ARGV[#ARGV]) < (TOMBSTONE_SECONDS - 10) * 1000000 then
    local ids = {}
    for i = 6, #ARGV - 1 do
      ids[#ids + 1] = ARGV[i]
    end
    charge(ids, rest, now)
  end
  bury(KEYS[2])
end
return 0
