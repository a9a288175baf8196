#!lua flags=allow-oom
-- KEYS clock, call; ARGV ref, cost in all. Answers 1, or 0 when the ledger knows no such live call.
local now = clock()
local call, buried = call_at(KEYS[2])
if call then
  finish(ARGV[1], call, tonumber(ARGV[2]), now)
  return 1
end
if not buried then
  bury(KEYS[2])
end
return 0
