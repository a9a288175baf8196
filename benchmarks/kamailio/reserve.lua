-- A place and a first block of money for a call, or nothing. KEYS: trunk; ARGV: call, capacity, threshold, hold, now.
local places, spent = KEYS[1] .. ':places', tonumber(redis.call('GET', KEYS[1] .. ':spent') or '0')
if redis.call('ZCARD', places) >= tonumber(ARGV[2]) then
  return 'capacity'
end
if spent + tonumber(ARGV[4]) > tonumber(ARGV[3]) then
  return 'spend'
end
redis.call('ZADD', places, tonumber(ARGV[5]) + 7200, ARGV[1])
return 'ok'
