-- Put in front of every verb by proxy/ledger/lua.py. KEYS[1] is always the clock key; every key begins with the same
-- hash tag, so keys that a script derives from a call's own record lie in the slot of those that it was given.
-- Amounts, counts and times are whole numbers below 2^53, which a Lua number holds exactly.

local MINUTE = 60000000           -- microseconds
local DAY = 86400000000
local WINDOW_MINUTES = 1440
local RING_SECONDS = 90000        -- a ring that nothing is added to goes by itself, after its last bucket left the window
local TOMBSTONE_SECONDS = 60

local prefix = string.match(KEYS[1], '^[^}]*}:')

-- Never tostring: it turns large numbers into 1e+15.
local function text(number)
  return string.format('%.0f', number)
end

-- The ledger's time in microseconds, held at the highest seen, and the server's own.
local function clock()
  local time = redis.call('TIME')
  local raw = time[1] * 1000000 + time[2]
  local held = tonumber(redis.call('GET', KEYS[1]) or 0)
  if raw > held then
    redis.call('SET', KEYS[1], text(raw))
    return raw, raw
  end
  return held, raw
end

-- What one scope holds, with the buckets that left the window taken off its sum. Minute m is in the window until
-- (m + 1441) minutes: a cost counts for at least 86,400 s and less than 86,460 s.
local function scope_at(id, now)
  local key = prefix .. 's:' .. id
  local found = redis.call('HMGET', key, 'n', 'r', 'w', 'b', 'd', 'D')
  local scope = {
    key = key,
    ring = prefix .. 'w:' .. id,
    calls = tonumber(found[1] or 0),
    reserved = tonumber(found[2] or 0),
    rolling = tonumber(found[3] or 0),
    oldest = tonumber(found[4] or -1),
    day = math.floor(now / DAY),
    today = 0,
    minute = math.floor(now / MINUTE),
  }
  local day = tonumber(found[6] or -1)
  if day >= scope.day then
    scope.day = day
    scope.today = tonumber(found[5] or 0)
  end
  local first = scope.minute - WINDOW_MINUTES
  if scope.oldest >= 0 and scope.oldest < first then
    local head = redis.call('LINDEX', scope.ring, 0)
    while head do
      local minute, sum = string.match(head, '^(%d+):(%d+)$')
      if tonumber(minute) >= first then
        break
      end
      scope.rolling = math.max(0, scope.rolling - tonumber(sum))
      redis.call('LPOP', scope.ring)
      head = redis.call('LINDEX', scope.ring, 0)
    end
    if head then
      scope.oldest = tonumber(string.match(head, '^(%d+):'))
    else
      scope.oldest = -1
      scope.rolling = 0
    end
    redis.call('HSET', key, 'w', text(scope.rolling), 'b', text(scope.oldest))
  end
  return scope
end

local function spent_in(scope, window)
  if window == 'd' then
    return scope.today
  end
  return scope.rolling
end

-- Add `cost` to a scope's sums and to the bucket of this minute. The caller writes the scope by store().
local function land(scope, cost)
  if cost <= 0 then
    return
  end
  scope.rolling = scope.rolling + cost
  scope.today = scope.today + cost
  scope.landed = true
  local last = redis.call('LINDEX', scope.ring, -1)
  if last then
    local minute, sum = string.match(last, '^(%d+):(%d+)$')
    if tonumber(minute) >= scope.minute then
      redis.call('LSET', scope.ring, -1, minute .. ':' .. text(sum + cost))
      return
    end
  end
  if redis.call('RPUSH', scope.ring, text(scope.minute) .. ':' .. text(cost)) == 1 then
    scope.oldest = scope.minute
  elseif scope.oldest < 0 then
    scope.oldest = tonumber(string.match(redis.call('LINDEX', scope.ring, 0), '^(%d+):'))
  end
  redis.call('EXPIRE', scope.ring, RING_SECONDS)
end

local function store(scope)
  if scope.landed then
    redis.call('HSET', scope.key, 'n', text(math.max(0, scope.calls)), 'r', text(math.max(0, scope.reserved)),
      'w', text(scope.rolling), 'b', text(scope.oldest), 'd', text(scope.today), 'D', text(scope.day))
  else
    redis.call('HSET', scope.key, 'n', text(math.max(0, scope.calls)), 'r', text(math.max(0, scope.reserved)))
  end
end

-- The record of a live call, or nil and whether a tombstone stands there. A key that is no hash is no call: one that
-- somebody damaged must not stand in the way of all others.
local function call_at(key)
  local flat = redis.pcall('HGETALL', key)
  if flat.err then
    return nil, false
  end
  local call = {}
  for i = 1, #flat, 2 do
    call[flat[i]] = flat[i + 1]
  end
  if not call.r then
    return nil, call.x ~= nil
  end
  call.spent = tonumber(call.s)
  call.hold = tonumber(call.h)
  call.scopes = tonumber(call.k)
  return call
end

-- A late duplicate of the reservation finds this and does not bring the call back.
local function bury(key)
  redis.call('DEL', key)
  redis.call('HSET', key, 'x', '1')
  redis.call('EXPIRE', key, TOMBSTONE_SECONDS)
end

-- End a live call: what it cost beyond what was moved already goes into the window, what it held returns, its place is
-- free. Everything is read before anything is written.
local function finish(ref, call, cost, now)
  local scopes = {}
  for i = 1, call.scopes do
    scopes[i] = scope_at(call[tostring(i)], now)
  end
  local rest = math.max(0, cost - call.spent)
  for i = 1, call.scopes do
    local scope = scopes[i]
    land(scope, rest)
    scope.calls = scope.calls - 1
    scope.reserved = scope.reserved - call.hold
    store(scope)
  end
  redis.call('ZREM', prefix .. 'leases', ref)
  redis.call('DEL', prefix .. 'd:' .. ref)
  bury(prefix .. 'k:' .. ref)
end
