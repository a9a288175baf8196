#!lua
-- KEYS stream; ARGV how many lines it keeps, lines. Answers how many were added.
for i = 2, #ARGV do
  redis.call('XADD', KEYS[1], 'MAXLEN', '~', ARGV[1], '*', 'j', ARGV[i])
end
return #ARGV - 1
