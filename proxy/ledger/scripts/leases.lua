#!lua flags=no-writes
-- KEYS clock, leases; ARGV owner, cursor, about how many to look at.
-- Answers {next cursor, how many of the leases looked at are the owner's}; the last cursor is '0'.
local page = redis.call('ZSCAN', KEYS[2], ARGV[2], 'COUNT', ARGV[3])
local owned = 0
for i = 1, #page[2], 2 do
  if redis.call('HGET', prefix .. 'k:' .. page[2][i], 'o') == ARGV[1] then
    owned = owned + 1
  end
end
return {page[1], owned}
