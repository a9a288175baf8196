#!lua flags=allow-oom
-- KEYS clock, leases
-- ARGV owner, lease in ms, number of scope lists; each list: how many scopes, then of each id, threshold, window;
--      then of each renewal: ref, epoch of the lease, spent, hold, which list
-- Answers of each renewal 1 granted, 2 no funds, 0 gone, 3 fenced: the call is somebody else's, or over.
local now = clock()
local owner = ARGV[1]
local expires = text(math.floor(now / 1000) + tonumber(ARGV[2]))
local lists = {}
local at = 4
for i = 1, tonumber(ARGV[3]) do
  local limits = {}
  for _ = 1, tonumber(ARGV[at]) do
    limits[ARGV[at + 1]] = {tonumber(ARGV[at + 2]), ARGV[at + 3]}
    at = at + 3
  end
  at = at + 1
  lists[i] = limits
end

local function renew(ref, epoch, spent, hold, limits)
  local key = prefix .. 'k:' .. ref
  local call, buried, swept = call_at(key)
  if not call then
    return buried and not swept and 3 or 0
  elseif call.o ~= owner or call.e ~= epoch then
    return 3
  end
  local scopes = {}
  for i = 1, call.scopes do
    scopes[i] = scope_at(call[tostring(i)], now)
  end
  local moved = math.max(0, spent - call.spent)
  local kept = math.max(0, call.hold - moved)
  local granted = true
  if hold > kept then
    for i = 1, call.scopes do
      local limit = limits[call[tostring(i)]]
      if limit and limit[1] then
        local exposure = spent_in(scopes[i], limit[2]) + moved + scopes[i].reserved - call.hold + hold
        granted = granted and exposure <= limit[1]
      end
    end
  end
  if not granted then
    hold = kept
  end
  if moved > 0 or hold ~= call.hold then
    for i = 1, call.scopes do
      local scope = scopes[i]
      land(scope, moved)
      scope.reserved = scope.reserved + hold - call.hold
      store(scope)
    end
    redis.call('HSET', key, 's', text(call.spent + moved), 'h', text(hold))
  end
  redis.call('ZADD', KEYS[2], expires, ref)
  return granted and 1 or 2
end

local outcomes = {}
while at <= #ARGV do
  outcomes[#outcomes + 1] = renew(ARGV[at], ARGV[at + 1], tonumber(ARGV[at + 2]), tonumber(ARGV[at + 3]),
    lists[tonumber(ARGV[at + 4])])
  at = at + 5
end
return outcomes
