#!lua
-- KEYS the index of decks, the deck; ARGV digest, rows, how many bytes all decks may take. Answers 1, or 0 when there
-- is no room.
local bytes = #ARGV[2]
local entries = redis.call('HGETALL', KEYS[1])
for i = 1, #entries, 2 do
  if entries[i] ~= ARGV[1] then
    bytes = bytes + tonumber(string.match(entries[i + 1], ' (%d+)$'))
  end
end
if bytes > tonumber(ARGV[3]) then
  return 0
end
redis.call('SET', KEYS[2], ARGV[2])
redis.call('HSET', KEYS[1], ARGV[1], redis.call('TIME')[1] .. ' ' .. string.format('%.0f', #ARGV[2]))
return 1
