#!lua flags=allow-oom
-- KEYS clock, leases; ARGV how many at most. Answers {how many leases had lapsed, refs of the calls that were ended}.
-- A lapsed lease is settled: an answered call is charged what it held, a ringing one gets it back.
local now = clock()
local lapsed = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(math.floor(now / 1000)), 'LIMIT', 0, ARGV[1])
local ended = {}
for _, ref in ipairs(lapsed) do
  local call = call_at(prefix .. 'k:' .. ref)
  if call then
    finish(ref, call, call.a and call.spent + call.hold or 0, now)
    ended[#ended + 1] = ref
  else
    redis.call('ZREM', KEYS[2], ref)
  end
end
return {#lapsed, ended}
