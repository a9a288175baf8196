#!lua flags=allow-oom
-- KEYS clock; ARGV id, endpoint, which try it was, 'done', 'again' or 'dead', after how many ms, why, most dead letters.
-- Who lost its claim may still say that it is done, and nothing else.
local now = math.floor(clock() / 1000)
local id, endpoint, what = ARGV[1], ARGV[2], ARGV[4]
local key = prefix .. 'hooks:d:' .. id .. ':' .. endpoint
local queue = prefix .. 'hooks:q:' .. endpoint
if not redis.call('ZSCORE', queue, id) then
  return 0
end
if what == 'done' then
  redis.call('ZREM', queue, id)
  redis.call('DEL', key)
elseif redis.call('HGET', key, 'n') ~= ARGV[3] then
  return 0
elseif what == 'again' then
  redis.call('HSET', key, 'w', ARGV[6])
  redis.call('ZADD', queue, text(now + tonumber(ARGV[5])), id)
else
  bury_hook(id, endpoint, ARGV[6], now, ARGV[7])
end
wake_hook(endpoint)
return 1
