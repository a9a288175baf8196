#!lua flags=allow-oom
-- KEYS clock. Answers {deliveries that wait, dead letters}.
local waiting = 0
for _, endpoint in ipairs(redis.call('ZRANGE', prefix .. 'hooks:due', 0, -1)) do
  waiting = waiting + redis.call('ZCARD', prefix .. 'hooks:q:' .. endpoint)
end
return {waiting, redis.call('ZCARD', prefix .. 'hooks:dead')}
