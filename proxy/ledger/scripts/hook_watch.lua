#!lua
-- KEYS clock; ARGV instance, how long it leads from now in ms, number of names, names of providers that can be called,
-- number of names, names of all providers, then of each trunk that had no money for a call: name, how much was wanted.
-- Answers {1 when this instance is the one that watches, of each of all providers for how many ms nobody could call it},
-- and for the one that watches: what was wanted, by trunk.
local SHORT_SECONDS = 3600
local now = math.floor(clock() / 1000)
local leader, ups, short = prefix .. 'hooks:leader', prefix .. 'hooks:up', prefix .. 'hooks:short'
local at = 4
for _ = 1, tonumber(ARGV[3]) do
  redis.call('ZADD', ups, text(now), ARGV[at])
  at = at + 1
end
local idle = {}
local all = tonumber(ARGV[at])
for i = 1, all do
  local name = ARGV[at + i]
  redis.call('ZADD', ups, 'NX', text(now), name)
  idle[i] = now - tonumber(redis.call('ZSCORE', ups, name))
end
at = at + all + 1
while ARGV[at] do
  local known = tonumber(redis.call('HGET', short, ARGV[at]))
  if not known or tonumber(ARGV[at + 1]) < known then
    redis.call('HSET', short, ARGV[at], ARGV[at + 1])
  end
  redis.call('EXPIRE', short, SHORT_SECONDS)
  at = at + 2
end
local leads = redis.call('GET', leader)
if leads and leads ~= ARGV[1] then
  return {0, idle}
end
redis.call('SET', leader, ARGV[1], 'PX', ARGV[2])
return {1, idle, redis.call('HGETALL', short)}
