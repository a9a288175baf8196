#!lua flags=allow-oom
-- KEYS clock, call; ARGV ref, owner. Answers 1, or 0 when there was nothing to undo.
-- Undoes a reservation that was just made, its admission among the calls of that second included.
local now = clock()
local call = call_at(KEYS[2])
if not call or call.o ~= ARGV[2] or call.a then
  return 0
end
if call.c then
  for i = 1, call.scopes do
    redis.call('LREM', prefix .. 'c:' .. call[tostring(i)], -1, call.c)
  end
end
finish(ARGV[1], call, 0, now)
return 1
