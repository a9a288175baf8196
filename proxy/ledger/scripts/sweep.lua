#!lua flags=allow-oom
-- KEYS clock, leases; ARGV how many at most, how long after its lapse in ms a call that can be adopted is left alone.
-- Answers {how many leases were dealt with, refs of the calls that were ended}.
-- A lapsed lease is settled: an answered call is charged what it held, a ringing one gets it back.
local now = clock()
local ms = math.floor(now / 1000)
local most = tonumber(ARGV[1])
local dealt, ended, missing = 0, {}, false
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(ms), 'WITHSCORES')
for i = 1, #lapsed, 2 do
  if dealt >= most then
    break
  end
  local ref = lapsed[i]
  local call = call_at(prefix .. 'k:' .. ref)
  if not call then
    missing = true
    dealt = dealt + 1
  elseif not call.a or tonumber(lapsed[i + 1]) + tonumber(ARGV[2]) < ms
      or redis.call('EXISTS', prefix .. 'x:' .. ref) == 0 then
    finish(ref, call, call.a and call.spent + call.hold or 0, now, true)
    dealt = dealt + 1
    ended[#ended + 1] = ref
  end
end
if missing then
  recount(nil)
end
return {dealt, ended}
