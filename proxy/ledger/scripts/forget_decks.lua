#!lua flags=allow-oom
-- KEYS the store's hash, the index of decks; ARGV how many seconds rows that no version names are kept.
-- Drops the rows that no kept version names and that were put there longer ago. Answers their digests.
local head, first = unpack(redis.call('HMGET', KEYS[1], 'head', 'first'))
local base = string.match(KEYS[1], '^[^}]*}:') .. 'policy:'
local now = tonumber(redis.call('TIME')[1])
local named = {}
for number = tonumber(first or 1), tonumber(head or 0) do
  local decks = redis.call('HGET', base .. 'v:' .. string.format('%.0f', number), 'decks')
  for digest in string.gmatch(decks or '', '%S+') do
    named[digest] = true
  end
end
local entries, gone = redis.call('HGETALL', KEYS[2]), {}
for i = 1, #entries, 2 do
  local since = tonumber(string.match(entries[i + 1], '^%d+'))
  if not named[entries[i]] and since + tonumber(ARGV[1]) <= now then
    redis.call('UNLINK', base .. 'deck:' .. entries[i])
    redis.call('HDEL', KEYS[2], entries[i])
    gone[#gone + 1] = entries[i]
  end
end
return gone
