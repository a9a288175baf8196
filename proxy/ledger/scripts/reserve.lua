#!lua
-- KEYS clock, leases, call, record, epoch; then of each scope: numbers, admissions
-- ARGV ref, owner, lease in ms, hold, trunk, record, epoch, number of scopes; then of each scope: id, capacity, cps,
--      threshold, window (an empty limit is no limit; window 'r' rolling, 'd' UTC day); then, for a caller who logged in
--      or whose attempts are counted, what its credentials use up, or ''; then what try() of velocity.lua reads, if anything
-- hold: how much, or `much least`: when much does not fit at every scope, least is held.
-- Answers {1, reserved at in ms, hold} | {0, scope index, reason, what there is, limit} | {0, 0, 'WINDOW', what, scope, limit},
-- each with a list of the soft thresholds that are passed, if there are any | {2} when the call was already ended | {3} when
-- this is not the ledger that the instance knows, or one that is being rebuilt | {4} when the credentials were used before.
-- No flags: a server that is out of memory, read-only or cannot write its disk refuses it before it starts.
local USE_SECONDS = 120  -- NONCE_MEMORY_SECONDS of proxy/call/nonce.py
local now, raw = clock()
local found = redis.call('HMGET', KEYS[3], 'r', 'x', 'h')
if found[1] then
  return {1, tonumber(found[1]), tonumber(found[3])}
elseif found[2] then
  return {2}
end
if redis.call('HGET', KEYS[5], 'id') ~= ARGV[7] then
  return {3}
end
local count = tonumber(ARGV[8])
local use = ARGV[9 + 5 * count]
if use and use ~= '' then
  local key = prefix .. 'n:' .. use
  if not redis.call('SET', key, ARGV[1], 'NX', 'EX', USE_SECONDS) and redis.call('GET', key) ~= ARGV[1] then
    return {4}
  end
end
local wanted, smallest = string.match(ARGV[4], '^(%d+) ?(%d*)$')
local hold, least = tonumber(wanted), tonumber(smallest) or tonumber(wanted)
local tried = 10 + 5 * count
if ARGV[tried] then
  local passed = try(tried, raw)
  if passed then
    return told({0, 0, 'WINDOW', unpack(passed)})
  end
end

-- Calls per second go by the server's own time: at most `limit` in any sliding second. After a step back the
-- admissions that now lie ahead are taken to have been just now.
for i = 1, count do
  local limit = tonumber(ARGV[5 * i + 6])
  if limit then
    local key = KEYS[2 * i + 5]
    local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
    if newest > raw then
      local times = redis.call('LRANGE', key, 0, -1)
      redis.call('DEL', key)
      for _ = 1, #times do
        redis.call('RPUSH', key, text(raw))
      end
      redis.call('PEXPIRE', key, 2000)
    end
    local nth = limit > 0 and redis.call('LINDEX', key, -limit)
    if limit <= 0 or (nth and raw - tonumber(nth) < 1000000) then
      return told({0, i, 'CPS', limit, limit})
    end
  end
end

local scopes = {}
for i = 1, count do
  scopes[i] = scope_at(ARGV[5 * i + 4], now)
end
for i = 1, count do
  local limit = tonumber(ARGV[5 * i + 5])
  if limit and scopes[i].calls >= limit then
    return told({0, i, 'CAPACITY', scopes[i].calls, limit})
  end
end
for i = 1, count do
  local limit = tonumber(ARGV[5 * i + 7])
  if limit then
    local exposure = spent_in(scopes[i], ARGV[5 * i + 8]) + scopes[i].reserved
    if exposure + least > limit then
      return told({0, i, 'SPEND', exposure, limit})
    elseif exposure + hold > limit then
      hold = least
    end
  end
end

local ms = math.floor(now / 1000)
redis.call('ZADD', KEYS[2], text(ms + tonumber(ARGV[3])), ARGV[1])
local record = {'HSET', KEYS[3], 'r', text(ms), 't', ARGV[5], 'o', ARGV[2], 'e', '1', 's', '0', 'h', text(hold),
  'k', text(count)}
local counted = false
for i = 1, count do
  local scope = scopes[i]
  scope.calls = scope.calls + 1
  scope.reserved = scope.reserved + hold
  store(scope)
  local limit = tonumber(ARGV[5 * i + 6])
  if limit then
    local key = KEYS[2 * i + 5]
    counted = true
    redis.call('RPUSH', key, text(raw))
    redis.call('LTRIM', key, -limit, -1)
    redis.call('PEXPIRE', key, 2000)
  end
  record[#record + 1] = text(i)
  record[#record + 1] = ARGV[5 * i + 4]
end
if counted then
  record[#record + 1] = 'c'
  record[#record + 1] = text(raw)
end
redis.call(unpack(record))
if ARGV[6] ~= '' then
  redis.call('SET', KEYS[4], ARGV[6])
end
return told({1, ms, hold})
