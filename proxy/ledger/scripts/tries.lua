#!lua flags=allow-oom
-- KEYS clock; ARGV callee, group, scope; then of each calling window: scope, name, limit.
-- Answers what would be counted with one more attempt: tries at the callee, different callees, the run that the callee
-- would be part of (at most 101); then the tries at the callee in each calling window. Counts nothing.
local _, raw = clock()
local callee, group = ARGV[1], ARGV[2]
local tries = 1
for _, time in ipairs(redis.call('LRANGE', tries_key(group, callee), 0, -1)) do
  if raw - tonumber(time) < MINUTE then
    tries = tries + 1
  end
end
local callees = redis.call('ZCOUNT', callees_key(group), '(' .. text(raw - MINUTE), '+inf')
local known = redis.call('ZSCORE', callees_key(group), callee)
if not known or raw - tonumber(known) >= MINUTE then
  callees = callees + 1
end
local answer = {tries, callees, run_of(group, callee, 101, raw)}
for i = 4, #ARGV, 3 do
  answer[#answer + 1] = tonumber(redis.call('HGET', window_key(ARGV[i], ARGV[i + 1]), callee) or 0) + 1
end
return answer
