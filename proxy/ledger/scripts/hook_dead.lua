#!lua
-- KEYS clock; ARGV 'list' how many; or 'replay' id or '' for all.
-- Answers of each dead letter, newest first, {id, endpoint, event, tries, when it was given up in ms, why}; or how many
-- are due again.
local now = math.floor(clock() / 1000)
local dead = prefix .. 'hooks:dead'
local answer, again = {}, 0
local last = ARGV[1] == 'list' and tonumber(ARGV[2]) - 1 or -1
for _, name in ipairs(redis.call('ZREVRANGE', dead, 0, last)) do
  local id, endpoint = string.match(name, '^([^:]*):(.*)$')
  local key = prefix .. 'hooks:d:' .. name
  if ARGV[1] == 'list' then
    local found = redis.call('HMGET', key, 'j', 'n', 'w')
    local at = redis.call('ZSCORE', dead, name)
    answer[#answer + 1] = {id, endpoint, found[1] or '', tonumber(found[2] or 0), tonumber(at), found[3] or ''}
  elseif ARGV[2] == '' or ARGV[2] == id then
    redis.call('ZREM', dead, name)
    if redis.call('EXISTS', key) == 1 then
      redis.call('HSET', key, 'n', '0')
      redis.call('ZADD', prefix .. 'hooks:q:' .. endpoint, text(now), id)
      wake_hook(endpoint)
      again = again + 1
    end
  end
end
return ARGV[1] == 'list' and answer or again
