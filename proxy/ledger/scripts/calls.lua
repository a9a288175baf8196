#!lua flags=no-writes
-- KEYS clock; ARGV refs. Answers of each live call {ref, trunk, owner, reserved at, answered at or '', spent, hold, record}.
local answer = {}
for _, ref in ipairs(ARGV) do
  local call = call_at(prefix .. 'k:' .. ref)
  if call then
    answer[#answer + 1] = {ref, call.t, call.o, tonumber(call.r), call.a and tonumber(call.a) or '', call.spent,
      call.hold, redis.call('GET', prefix .. 'd:' .. ref) or ''}
  end
end
return answer
