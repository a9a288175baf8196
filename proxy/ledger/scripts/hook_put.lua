#!lua
-- KEYS clock; ARGV kind of guard, its field, its value, leader or '', most deliveries that wait for an endpoint, most
-- dead letters, event, endpoints.
-- Guards: 'state' lets an event pass that brings a field another value, and remembers it; a field that has none takes it
-- in silence when the value begins with '-'. 'once' lets one event pass in so many ms (the value). '' lets all pass.
-- With a leader only that instance may speak.
-- Answers {1 when the event was taken, else 0; id; how many older deliveries gave way}.
local now = math.floor(clock() / 1000)
local hooks = prefix .. 'hooks:'
local guard, field, value = ARGV[1], ARGV[2], ARGV[3]
if ARGV[4] ~= '' and redis.call('GET', hooks .. 'leader') ~= ARGV[4] then
  return {0, '', 0}
end
if guard == 'state' then
  local silent = string.sub(value, 1, 1) == '-'
  value = silent and string.sub(value, 2) or value
  local before = redis.call('HGET', hooks .. 'states', field)
  if before == value then
    return {0, '', 0}
  end
  redis.call('HSET', hooks .. 'states', field, value)
  if not before and silent then
    return {0, '', 0}
  end
elseif guard == 'once' and not redis.call('SET', hooks .. 'once:' .. field, '1', 'NX', 'PX', value) then
  return {0, '', 0}
end
local id = string.format('msg_%012x%08x', now, redis.call('INCR', hooks .. 'seq') % 4294967296)
local gone = 0
for i = 8, #ARGV do
  local endpoint = ARGV[i]
  local queue = hooks .. 'q:' .. endpoint
  while redis.call('ZCARD', queue) >= tonumber(ARGV[5]) do
    -- The oldest gives way: what is new says more of how things are.
    local oldest
    for _, waiting in ipairs(redis.call('ZRANGE', queue, 0, -1)) do
      oldest = (not oldest or waiting < oldest) and waiting or oldest
    end
    bury_hook(oldest, endpoint, 'too many wait for this endpoint', now, ARGV[6])
    gone = gone + 1
  end
  redis.call('HSET', hooks .. 'd:' .. id .. ':' .. endpoint, 'j', ARGV[7], 'n', '0', 't', text(now))
  redis.call('ZADD', queue, text(now), id)
  wake_hook(endpoint)
end
return {1, id, gone}
