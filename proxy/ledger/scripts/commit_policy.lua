#!lua flags=allow-oom
-- KEYS the store's hash, the version's hash, the index of decks; ARGV expected token or empty, number,
-- token, at, author, comment, changes, document, digests of its decks with spaces between, how many versions are kept,
-- how many bytes of them. Answers {1, number} when the version is the head, also when this very request had made it
-- so before; {0, the head's number} when the head is another than expected; {-1, a digest} when those rows are not there.
local head, token = unpack(redis.call('HMGET', KEYS[1], 'head', 'token'))
if token == ARGV[3] then
  return {1, head}
end
if (token or '') ~= ARGV[1] then
  return {0, head or '0'}
end
local base = string.match(KEYS[1], '^[^}]*}:') .. 'policy:'
local before = ' ' .. (head and redis.call('HGET', base .. 'v:' .. head, 'decks') or '') .. ' '
local size = #ARGV[5] + #ARGV[6] + #ARGV[7] + #ARGV[8] + #ARGV[9]
for digest in string.gmatch(ARGV[9], '%S+') do
  local known = redis.call('HGET', KEYS[3], digest)
  if not known then
    return {-1, digest}
  end
  if not string.find(before, ' ' .. digest .. ' ', 1, true) then
    size = size + tonumber(string.match(known, ' (%d+)$'))
  end
end
local number = ARGV[2]
redis.call('HSET', KEYS[2], 'token', ARGV[3], 'at', ARGV[4], 'author', ARGV[5], 'comment', ARGV[6],
  'changes', ARGV[7], 'document', ARGV[8], 'decks', ARGV[9], 'size', string.format('%.0f', size))
redis.call('HSET', KEYS[1], 'head', number, 'token', ARGV[3])
redis.call('HSETNX', KEYS[1], 'first', number)
local bytes = redis.call('HINCRBY', KEYS[1], 'bytes', string.format('%.0f', size))
local first = tonumber(redis.call('HGET', KEYS[1], 'first'))
while first < tonumber(number) and (tonumber(number) - first >= tonumber(ARGV[10]) or bytes > tonumber(ARGV[11])) do
  local old = base .. 'v:' .. string.format('%.0f', first)
  local freed = redis.call('HGET', old, 'size')
  redis.call('DEL', old)
  bytes = redis.call('HINCRBY', KEYS[1], 'bytes', '-' .. (freed or '0'))
  first = first + 1
end
redis.call('HSET', KEYS[1], 'first', string.format('%.0f', first))
return {1, number}
