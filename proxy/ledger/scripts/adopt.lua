#!lua flags=allow-oom
-- KEYS clock, leases; ARGV owner, lease in ms, '1' to take calls whose lease still lives, refs.
-- Answers of each call that is the owner's from now on {ref, trunk, epoch of its lease, reserved so many ms ago, answered
-- so many ms ago or -1, spent, hold, version of the state, state, record}. Whoever had it is fenced by the new epoch.
-- A living call that nobody could go on with, for want of an answer or a state, is left to whom it is of: epoch 0.
local now = clock()
local ms = math.floor(now / 1000)
local answer = {}
for i = 4, #ARGV do
  local ref = ARGV[i]
  local key = prefix .. 'k:' .. ref
  local call = call_at(key)
  if call then
    local mine = call.o == ARGV[1]
    local lapses = tonumber(redis.call('ZSCORE', KEYS[2], ref) or 0)
    local state = redis.call('GET', prefix .. 'x:' .. ref) or ''
    if mine or ARGV[3] == '1' or lapses <= ms then
      if mine or lapses <= ms or (call.a and state ~= '') then
        if not mine then
          call.e = text(call.e + 1)
          redis.call('HSET', key, 'o', ARGV[1], 'e', call.e)
        end
        redis.call('ZADD', KEYS[2], text(ms + tonumber(ARGV[2])), ref)
      else
        call.e = '0'
      end
      answer[#answer + 1] = {ref, call.t, tonumber(call.e), ms - tonumber(call.r), call.a and ms - tonumber(call.a) or -1,
        call.spent, call.hold, tonumber(call.v or 0), state, redis.call('GET', prefix .. 'd:' .. ref) or ''}
    end
  end
end
return answer
