#!lua flags=allow-oom
-- KEYS clock, epoch, instances; ARGV owner, the server's run id, a fresh epoch, the epoch for which the owner told all
--      that it knows ('' none), for how many ms others are waited for; other owners that live as far as it knows.
-- Answers {1, epoch, emptied, owners alive...} when the ledger is open, {0, epoch to be, emptied, owners alive...} while
-- it is rebuilt; emptied is 1 when no data at all was left before this epoch.
-- An epoch ends when its key is gone or the server was started anew: either may have lost what was written last. The
-- next one opens when every instance that lived has told its calls, or did not come within the time.
local now = clock()
local ms = math.floor(now / 1000)
local owner, run, patience = ARGV[1], ARGV[2], tonumber(ARGV[5])
-- A key of ours that somebody overwrote is as good as lost.
local kinds = {[KEYS[2]] = 'hash', [KEYS[3]] = 'zset', [prefix .. 'leases'] = 'zset', [prefix .. 'scopes'] = 'set'}
for key, kind in pairs(kinds) do
  local found = redis.call('TYPE', key).ok
  if found ~= 'none' and found ~= kind then
    redis.call('DEL', key)
  end
end
local newest = redis.call('ZRANGE', KEYS[3], -1, -1, 'WITHSCORES')[2]
local alive = newest and redis.call('ZRANGEBYSCORE', KEYS[3], text(newest - 3000), '+inf') or {}
redis.call('ZADD', KEYS[3], text(ms), owner)
redis.call('ZREMRANGEBYSCORE', KEYS[3], '-inf', text(ms - 3600000))

local function answer(open, epoch)
  return {open, epoch, redis.call('HEXISTS', KEYS[2], 'emptied'), unpack(alive)}
end

local found = redis.call('HMGET', KEYS[2], 'id', 'run', 'next', 'since')
if found[1] and found[2] == run then
  return answer(1, found[1])
end
local epoch, since = found[3], tonumber(found[4] or ms)
if not epoch or found[2] ~= run then
  epoch, since = ARGV[3], ms
  -- A restart keeps the sums of the window but for the last moments; who emptied the server took them all.
  local emptied = not found[2] or (found[3] and redis.call('HEXISTS', KEYS[2], 'emptied') == 1)
  redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[2], 'next', epoch, 'run', run, 'since', text(ms))
  if emptied then
    redis.call('HSET', KEYS[2], 'emptied', '1')
  end
  for _, other in ipairs(alive) do
    redis.call('HSET', KEYS[2], 'a:' .. other, '1')
  end
end
for i = 6, #ARGV do
  redis.call('HSETNX', KEYS[2], 'a:' .. ARGV[i], '1')
end
redis.call('HSET', KEYS[2], 'a:' .. owner, ARGV[4] == epoch and '0' or '1')

local fields = redis.call('HGETALL', KEYS[2])
local awaited = ms - since < patience
if awaited then
  awaited = false
  for i = 1, #fields, 2 do
    awaited = awaited or (string.sub(fields[i], 1, 2) == 'a:' and fields[i + 1] == '1')
  end
end
if awaited or ARGV[4] ~= epoch then
  return answer(0, epoch)
end
local emptied = redis.call('HGET', KEYS[2], 'emptied')
for i = 1, #fields, 2 do
  local window, id = string.match(fields[i], '^f:(.):(.*)$')
  if emptied and id then
    local scope = scope_at(id, now)
    land(scope, tonumber(fields[i + 1]) - spent_in(scope, window))
    store(scope)
  end
end
recount(nil)
redis.call('DEL', KEYS[2])
redis.call('HSET', KEYS[2], 'id', epoch, 'run', run)
if emptied then
  redis.call('HSET', KEYS[2], 'emptied', '1')
end
return answer(1, epoch)
