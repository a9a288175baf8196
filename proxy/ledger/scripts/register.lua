#!lua flags=allow-oom
-- KEYS clock, leases; ARGV owner, lease in ms; then of each call: ref, epoch of the lease, trunk, reserved so many ms ago,
--      answered so many ms ago or '', what the ledger had moved, spent in all, hold, record, how many scopes, their ids.
-- Answers of each call 1 it is in the ledger as its owner says, 3 fenced: it is somebody else's, or over.
-- Takes live calls in that the ledger lost or never had, whatever the limits say: they live.
local now = clock()
local ms = math.floor(now / 1000)
local owner = ARGV[1]
local expires = text(ms + tonumber(ARGV[2]))

local function align(ref, key, call, answered, spent, hold)
  local scopes = {}
  for i = 1, call.scopes do
    scopes[i] = scope_at(call[tostring(i)], now)
  end
  local moved = math.max(0, spent - call.spent)
  for i = 1, call.scopes do
    land(scopes[i], moved)
    scopes[i].reserved = scopes[i].reserved + hold - call.hold
    store(scopes[i])
  end
  redis.call('HSET', key, 's', text(call.spent + moved), 'h', text(hold))
  if answered and not call.a then
    redis.call('HSET', key, 'a', text(ms - answered))
  end
end

local function create(ref, key, at, epoch, answered, moved, spent, hold)
  if redis.call('ZSCORE', KEYS[2], ref) then
    -- Its record alone was lost: the scopes still count it.
    for i = 1, tonumber(ARGV[at + 9]) do
      redis.call('SADD', prefix .. 'scopes', ARGV[at + 9 + i])
    end
    recount(nil)
  end
  local scopes, count = {}, tonumber(ARGV[at + 9])
  local record = {'HSET', key, 'r', text(ms - tonumber(ARGV[at + 3])), 't', ARGV[at + 2], 'o', owner, 'e', epoch,
    's', text(math.max(spent, moved)), 'h', text(hold), 'k', text(count)}
  if answered then
    record[#record + 1] = 'a'
    record[#record + 1] = text(ms - answered)
  end
  for i = 1, count do
    local id = ARGV[at + 9 + i]
    scopes[i] = scope_at(id, now)
    record[#record + 1] = text(i)
    record[#record + 1] = id
  end
  for i = 1, count do
    land(scopes[i], spent - moved)
    scopes[i].calls = scopes[i].calls + 1
    scopes[i].reserved = scopes[i].reserved + hold
    store(scopes[i])
  end
  redis.call('DEL', key)
  redis.call(unpack(record))
  redis.call('SET', prefix .. 'd:' .. ref, ARGV[at + 8])
end

local outcomes = {}
local at = 3
while at <= #ARGV do
  local ref = ARGV[at]
  local key = prefix .. 'k:' .. ref
  local call, buried, swept = call_at(key)
  local answered = tonumber(ARGV[at + 4])
  local moved, spent, hold = tonumber(ARGV[at + 5]), tonumber(ARGV[at + 6]), tonumber(ARGV[at + 7])
  if (call and (call.o ~= owner or call.e ~= ARGV[at + 1])) or (buried and not swept) then
    outcomes[#outcomes + 1] = 3
  else
    if call then
      align(ref, key, call, answered, spent, hold)
    else
      create(ref, key, at, ARGV[at + 1], answered, math.max(moved, swept or 0), spent, hold)
    end
    redis.call('ZADD', KEYS[2], expires, ref)
    outcomes[#outcomes + 1] = 1
  end
  at = at + 10 + tonumber(ARGV[at + 9])
end
return outcomes
