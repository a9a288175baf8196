-- Put in front of every verb by proxy/ledger/lua.py. KEYS[1] is always the clock key; every key begins with the same
-- hash tag, so keys that a script derives from a call's own record lie in the slot of those that it was given.
-- Amounts, counts and times are whole numbers below 2^53, which a Lua number holds exactly.

local MINUTE = 60000000           -- microseconds
local DAY = 86400000000
local WINDOW_MINUTES = 1440
local RING_SECONDS = 90000        -- a ring that nothing is added to goes by itself, after its last bucket left the window
local TOMBSTONE_SECONDS = 180
local SWEPT_SECONDS = 86400       -- an owner that comes back finds what became of its call

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

local ring_of, recount, land

-- The bucket at one end of a ring. A key that is no list is taken away, as if the ring had been lost: an error here
-- would leave a cost at one scope and not at the next, and bring it again with each repetition.
local function bucket(ring, at)
  local found = redis.pcall('LINDEX', ring, at)
  if type(found) == 'table' then
    redis.call('DEL', ring)
    return false
  end
  return found
end

-- The numbers of a scope whose key is not there: one that was never used, or one whose key was lost. The latter's are
-- told from its live calls and its ring.
local function found_again(id, key, now)
  redis.call('HSET', key, 'n', '0', 'r', '0')
  if redis.call('SADD', prefix .. 'scopes', id) == 0 then
    local rolling, today, oldest, day = ring_of(id, now)
    redis.call('HSET', key, 'w', text(rolling), 'b', text(oldest), 'd', text(today), 'D', text(day),
      'l', text(math.floor(now / MINUTE)))
    recount({[id] = true})
  end
  return redis.call('HMGET', key, 'n', 'r', 'w', 'b', 'd', 'D', 'l')
end

-- What one scope holds, with the buckets that left the window taken off its sum. Minute m is in the window until
-- (m + 1441) minutes: a cost counts for at least 86,400 s and less than 86,460 s.
local function scope_at(id, now)
  local key = prefix .. 's:' .. id
  local found = redis.call('HMGET', key, 'n', 'r', 'w', 'b', 'd', 'D', 'l')
  if not found[1] then
    found = found_again(id, key, now)
  end
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
    newest = tonumber(found[7] or -1),
  }
  local day = tonumber(found[6] or -1)
  if day >= scope.day then
    scope.day = day
    scope.today = tonumber(found[5] or 0)
  end
  local first = scope.minute - WINDOW_MINUTES
  if scope.oldest >= 0 and scope.oldest < first then
    local head = bucket(scope.ring, 0)
    while head do
      local minute, sum = string.match(head, '^(%d+):(%d+)$')
      if tonumber(minute) >= first then
        break
      end
      scope.rolling = math.max(0, scope.rolling - tonumber(sum))
      redis.call('LPOP', scope.ring)
      head = bucket(scope.ring, 0)
    end
    if head then
      scope.oldest = tonumber(string.match(head, '^(%d+):'))
    else
      -- Nothing is left of the ring. If its last bucket should still be there, somebody took it away, and what is left
      -- of the sum counts as if it were of now, rather than not at all.
      scope.oldest = -1
      local left = scope.rolling
      scope.rolling = 0
      if left > 0 and scope.newest >= first then
        local today = scope.today
        land(scope, left)
        scope.today = today
        scope.landed = nil
      end
    end
    redis.call('HSET', key, 'w', text(scope.rolling), 'b', text(scope.oldest), 'l', text(scope.newest))
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
function land(scope, cost)
  if cost <= 0 then
    return
  end
  scope.rolling = scope.rolling + cost
  scope.today = scope.today + cost
  scope.landed = true
  scope.newest = scope.minute
  local last = bucket(scope.ring, -1)
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
      'w', text(scope.rolling), 'b', text(scope.oldest), 'd', text(scope.today), 'D', text(scope.day), 'l', text(scope.newest))
  else
    redis.call('HSET', scope.key, 'n', text(math.max(0, scope.calls)), 'r', text(math.max(0, scope.reserved)))
  end
end

-- The record of a live call; or nil, whether a tombstone stands there, and what a swept call was charged. A key that is no hash is no call: one that
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
    return nil, call.x ~= nil, call.x == '2' and tonumber(call.s) or nil
  end
  call.spent = tonumber(call.s)
  call.hold = tonumber(call.h)
  call.scopes = tonumber(call.k)
  return call
end

-- A late duplicate of the reservation finds this and does not bring the call back. 'x' says how it ended: '1' settled,
-- '2' swept, its lease having lapsed; 's' is then what it was charged in all.
local function bury(key, swept)
  redis.call('DEL', key)
  if swept then
    redis.call('HSET', key, 'x', '2', 's', text(swept))
    redis.call('EXPIRE', key, SWEPT_SECONDS)
  else
    redis.call('HSET', key, 'x', '1')
    redis.call('EXPIRE', key, TOMBSTONE_SECONDS)
  end
end

-- Let a cost land at scopes of which the call's own record tells nothing any more.
local function charge(ids, cost, now)
  local scopes = {}
  for i = 1, #ids do
    scopes[i] = scope_at(ids[i], now)
  end
  for i = 1, #ids do
    land(scopes[i], cost)
    store(scopes[i])
  end
end

-- End a live call: what it cost beyond what was moved already goes into the window, what it held returns, its place is
-- free. Everything is read before anything is written.
local function finish(ref, call, cost, now, swept)
  local scopes = {}
  for i = 1, call.scopes do
    scopes[i] = scope_at(call[tostring(i)], now)
  end
  local rest = math.max(0, cost - call.spent)
  redis.call('ZREM', prefix .. 'leases', ref)
  for i = 1, call.scopes do
    local scope = scopes[i]
    land(scope, rest)
    scope.calls = scope.calls - 1
    scope.reserved = scope.reserved - call.hold
    store(scope)
  end
  redis.call('DEL', prefix .. 'd:' .. ref, prefix .. 'x:' .. ref)
  bury(prefix .. 'k:' .. ref, swept and call.spent + rest)
end

-- The rolling sum, the sum since midnight UTC, the oldest minute and the day number that a scope's ring proves; a key
-- that is no list proves nothing.
function ring_of(id, now)
  local rolling, today, oldest = 0, 0, -1
  local day = math.floor(now / DAY)
  local first = math.floor(now / MINUTE) - WINDOW_MINUTES
  for _, one in ipairs(redis.pcall('LRANGE', prefix .. 'w:' .. id, 0, -1)) do
    local minute, sum = string.match(one, '^(%d+):(%d+)$')
    minute, sum = tonumber(minute), tonumber(sum)
    if oldest < 0 then
      oldest = minute
    end
    if minute >= first then
      rolling = rolling + sum
    end
    if minute * MINUTE >= day * DAY then
      today = today + sum
    end
  end
  return rolling, today, oldest, day
end

-- Count places and holds of the named scopes (all of them, when `only` is nil) anew from the live calls, which
-- are the proof. A lease without a call is dropped, with what was kept beside the call: whoever has it tells all of it
-- again. A scope that is no hash is left alone: it must not stand in the way of all others.
-- Answers what was wrong: {scope, 'calls' or 'reserved', was, is}.
function recount(only)
  local places, holds = {}, {}
  for id in pairs(only or {}) do
    places[id], holds[id] = 0, 0
  end
  for _, id in ipairs(only and {} or redis.call('SMEMBERS', prefix .. 'scopes')) do
    places[id], holds[id] = 0, 0
  end
  for _, ref in ipairs(redis.call('ZRANGE', prefix .. 'leases', 0, -1)) do
    local call = call_at(prefix .. 'k:' .. ref)
    if not call then
      redis.call('ZREM', prefix .. 'leases', ref)
      redis.call('DEL', prefix .. 'd:' .. ref, prefix .. 'x:' .. ref)
    else
      for i = 1, call.scopes do
        local id = call[tostring(i)]
        if not only or places[id] then
          places[id] = (places[id] or 0) + 1
          holds[id] = (holds[id] or 0) + call.hold
        end
      end
    end
  end
  local wrong = {}
  for id, calls in pairs(places) do
    local key = prefix .. 's:' .. id
    local found = redis.pcall('HMGET', key, 'n', 'r')
    local was, held = tonumber(found[1] or 0), tonumber(found[2] or 0)
    if found.err then
      was, held = calls, holds[id]
    end
    if was ~= calls then
      wrong[#wrong + 1] = {id, 'calls', was, calls}
    end
    if held ~= holds[id] then
      wrong[#wrong + 1] = {id, 'reserved', held, holds[id]}
    end
    if was ~= calls or held ~= holds[id] then
      redis.call('HSET', key, 'n', text(calls), 'r', text(holds[id]))
    end
  end
  return wrong
end
