-- The call is over: its place is free, its cost is spent. KEYS: trunk; ARGV: call, cost.
if redis.call('ZREM', KEYS[1] .. ':places', ARGV[1]) == 1 then
  redis.call('INCRBY', KEYS[1] .. ':spent', ARGV[2])
end
return 'ok'
