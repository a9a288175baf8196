#!lua flags=no-writes
-- KEYS clock, leases; ARGV how many at most. Answers the refs of answered calls with a state whose lease has lapsed.
local time = redis.call('TIME')
local now = math.max(time[1] * 1000000 + time[2], tonumber(redis.call('GET', KEYS[1]) or 0))
local answer = {}
for _, ref in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', text(math.floor(now / 1000)))) do
  if #answer >= tonumber(ARGV[1]) then
    break
  end
  if redis.call('HGET', prefix .. 'k:' .. ref, 'a') and redis.call('EXISTS', prefix .. 'x:' .. ref) == 1 then
    answer[#answer + 1] = ref
  end
end
return answer
