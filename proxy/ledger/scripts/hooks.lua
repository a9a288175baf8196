-- Put in front of the verbs of the queue of events. A delivery is an event to be told to one endpoint: a hash, and a
-- place in the endpoint's queue, ordered by when it is due; endpoints are ordered by what is due first there.

-- Say when the endpoint is to be looked at next.
local function wake_hook(endpoint)
  local first = redis.call('ZRANGE', prefix .. 'hooks:q:' .. endpoint, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('ZADD', prefix .. 'hooks:due', first[2], endpoint)
  else
    redis.call('ZREM', prefix .. 'hooks:due', endpoint)
  end
end

-- Give a delivery up: it is kept among the dead letters, of which the oldest go.
local function bury_hook(id, endpoint, why, now, most)
  local name = id .. ':' .. endpoint
  redis.call('ZREM', prefix .. 'hooks:q:' .. endpoint, id)
  redis.call('HSET', prefix .. 'hooks:d:' .. name, 'w', why)
  redis.call('ZADD', prefix .. 'hooks:dead', text(now), name)
  local extra = redis.call('ZCARD', prefix .. 'hooks:dead') - tonumber(most)
  for _, old in ipairs(extra > 0 and redis.call('ZRANGE', prefix .. 'hooks:dead', 0, extra - 1) or {}) do
    redis.call('ZREM', prefix .. 'hooks:dead', old)
    redis.call('DEL', prefix .. 'hooks:d:' .. old)
  end
end
