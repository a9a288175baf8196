-- How often callees are tried: put between common.lua and the verbs that count or show it (proxy/ledger/lua.py).
-- An attempt is counted whether or not it is refused. Times are microseconds by the server's own clock; after a step back
-- those that now lie ahead are taken to have been just now. What is kept is bounded, whatever a caller does.

local MOST_CALLEES = 20000        -- of a trunk towards one country, within a minute
local MOST_IN_WINDOW = 200000     -- different callees of a scope in one calling window
local WINDOW_SECONDS = 93600      -- a calling window is over within a day of 25 hours
local EXPIRED_AT_ONCE = 500

-- The times of a callee's last tries, the newest at the end.
local function tries_key(group, callee)
  return prefix .. 't:' .. group .. ':' .. callee
end

-- The callees of a group, each with the time of its last try.
local function callees_key(group)
  return prefix .. 'v:' .. group
end

-- The tries of each callee in one calling window.
local function window_key(id, opened)
  return prefix .. 'p:' .. id .. ':' .. opened
end

local function over(key, limit, raw)
  local nth = limit and redis.call('LINDEX', key, -limit)
  return nth and raw - tonumber(nth) < MINUTE
end

-- One more try at a callee: whether there were `soft` and `hard` of them within the last minute already.
local function try_callee(group, callee, soft, hard, raw)
  local key = tries_key(group, callee)
  local newest = tonumber(redis.call('LINDEX', key, -1) or 0)
  if newest > raw then
    for i = 1, redis.call('LLEN', key) do
      redis.call('LSET', key, i - 1, text(raw))
    end
  end
  local soft_over, hard_over = over(key, soft, raw), over(key, hard, raw)
  redis.call('RPUSH', key, text(raw))
  redis.call('LTRIM', key, -math.max(soft or 0, hard or 0), -1)
  redis.call('PEXPIRE', key, MINUTE / 1000)
  return soft_over, hard_over
end

-- Note a callee among those of the last minute; how many they are with it. nil: there is no room for a new one.
local function note_callee(group, callee, raw)
  local key = callees_key(group)
  local newest = redis.call('ZRANGE', key, -1, -1, 'WITHSCORES')
  if newest[2] and tonumber(newest[2]) > raw then
    for _, ahead in ipairs(redis.call('ZRANGEBYSCORE', key, '(' .. text(raw), '+inf')) do
      redis.call('ZADD', key, text(raw), ahead)
    end
  end
  local expired = redis.call('ZRANGEBYSCORE', key, '-inf', text(raw - MINUTE), 'LIMIT', 0, EXPIRED_AT_ONCE)
  if #expired > 0 then
    redis.call('ZREM', key, unpack(expired))
  end
  local full = false
  if redis.call('ZADD', key, text(raw), callee) == 1 and redis.call('ZCARD', key) > MOST_CALLEES then
    local oldest = redis.call('ZPOPMIN', key)[1]
    redis.call('DEL', tries_key(group, oldest))
    full = true
  end
  redis.call('PEXPIRE', key, MINUTE / 1000)
  return not full and redis.call('ZCOUNT', key, '(' .. text(raw - MINUTE), '+inf')
end

-- How many callees next to one another, this one among them, were tried within the last minute; at most `most`.
local function run_of(group, callee, most, raw)
  local number = tonumber(callee)
  local key = callees_key(group)
  local length = 1
  for step = -1, 1, 2 do
    local next_to = number + step
    while length < most do
      local time = redis.call('ZSCORE', key, text(next_to))
      if not time or raw - tonumber(time) >= MINUTE then
        break
      end
      length = length + 1
      next_to = next_to + step
    end
  end
  return length
end

-- One more try at a callee in a calling window; how many there are with it, or nil when there is no room for a new one.
local function try_in_window(id, opened, callee, limit)
  local key = window_key(id, opened)
  local tries = tonumber(redis.call('HGET', key, callee) or 0)
  if tries > limit then
    return tries                  -- no more is needed to refuse it
  end
  if tries == 0 then
    local callees = redis.call('HLEN', key)
    if callees >= MOST_IN_WINDOW then
      return nil
    end
    redis.call('HSET', key, callee, '1')
    if callees == 0 then
      redis.call('EXPIRE', key, WINDOW_SECONDS)
    end
    return 1
  end
  return redis.call('HINCRBY', key, callee, 1)
end

-- What was noted of this attempt for the operator, as rows of what, scope, threshold; and told with the answer.
local noted = {}
local function told(answer)
  if #noted > 0 then
    answer[#answer + 1] = noted
  end
  return answer
end

-- Count an attempt, whose arguments begin at ARGV[at]: callee, group, scope, soft and hard of tries at one callee, of
-- different callees, of callees next to one another (empty: none); then of each calling window: scope, name, limit.
-- Everything is counted; then the row of the first limit that is passed, or nil.
local function try(at, raw)
  local callee, group, id = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  local passed = nil
  local function judge(what, scope, count, soft, hard)
    if hard and count > hard then
      passed = passed or {what, scope, hard}
    elseif soft and count > soft then
      noted[#noted + 1] = {what, scope, soft}
    end
  end
  if group ~= '' then
    local soft, hard = tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4])
    if soft or hard then
      local soft_over, hard_over = try_callee(group, callee, soft, hard, raw)
      judge('calls_per_callee', id, hard_over and hard + 1 or soft_over and soft + 1 or 1, soft, hard)
    end
    local few, most = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6])
    local short, long = tonumber(ARGV[at + 7]), tonumber(ARGV[at + 8])
    local callees = note_callee(group, callee, raw)
    if not callees then
      judge('distinct_callees', id, MOST_CALLEES + 1, nil, MOST_CALLEES)
    else
      judge('distinct_callees', id, callees, few, most)
    end
    if short or long then
      judge('sequential_numbers', id, run_of(group, callee, math.max(short or 0, long or 0) + 1, raw), short, long)
    end
  end
  for i = at + 9, #ARGV, 3 do
    local limit = tonumber(ARGV[i + 2])
    local tries = try_in_window(ARGV[i], ARGV[i + 1], callee, limit)
    if tries then
      judge('calls_per_cld', ARGV[i], tries, nil, limit)
    else
      judge('callees_in_window', ARGV[i], MOST_IN_WINDOW + 1, nil, MOST_IN_WINDOW)
    end
  end
  return passed
end
