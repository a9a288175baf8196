#!lua flags=allow-oom
-- KEYS clock; ARGV of each scope: id, window. Answers of each scope {calls, spent, reserved, start of the window in ms}.
local now = clock()
local answer = {}
for i = 1, #ARGV, 2 do
  local scope = scope_at(ARGV[i], now)
  local starts = (scope.minute - WINDOW_MINUTES) * MINUTE
  if ARGV[i + 1] == 'd' then
    starts = scope.day * DAY
  end
  answer[#answer + 1] = {scope.calls, spent_in(scope, ARGV[i + 1]), scope.reserved, starts / 1000}
end
return answer
