#!lua flags=allow-oom
-- KEYS clock; ARGV how many at most, for how long in ms, endpoints that are left alone.
-- Answers of each delivery {id, endpoint, event, which try this is, when it was put in ms}. Whoever claimed one and does
-- not settle it in time loses it: it is due again. One of each endpoint.
local now = math.floor(clock() / 1000)
local left_alone = {}
for i = 3, #ARGV do
  left_alone[ARGV[i]] = true
end
local claimed = {}
local due = redis.call('ZRANGEBYSCORE', prefix .. 'hooks:due', '-inf', text(now), 'LIMIT', 0, tonumber(ARGV[1]) + #ARGV)
for _, endpoint in ipairs(due) do
  if #claimed >= tonumber(ARGV[1]) then
    break
  end
  if not left_alone[endpoint] then
    local queue = prefix .. 'hooks:q:' .. endpoint
    local id = redis.call('ZRANGEBYSCORE', queue, '-inf', text(now), 'LIMIT', 0, 1)[1]
    if id then
      local key = prefix .. 'hooks:d:' .. id .. ':' .. endpoint
      local event = redis.call('HMGET', key, 'j', 't')
      if event[1] then
        redis.call('ZADD', queue, text(now + tonumber(ARGV[2])), id)
        claimed[#claimed + 1] = {id, endpoint, event[1], redis.call('HINCRBY', key, 'n', 1), tonumber(event[2])}
      else
        redis.call('ZREM', queue, id)
      end
    end
    wake_hook(endpoint)
  end
end
return claimed
