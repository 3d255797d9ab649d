#!lua flags=allow-oom
-- Close the shard to all commands. Only for callers that know of no newer epoch; missing meta
-- stays missing.
-- @key meta hash
-- @arg epoch int the caller's epoch in PostgreSQL
-- @arg why str
-- @returns sealed epoch seq | newer epoch | missing
local m = redis.call('HMGET', meta, 'epoch', 'seq')
if not m[1] then return { 'missing' } end
if tonumber(m[1]) > epoch then return { 'newer', m[1] } end
redis.call('HSET', meta, 'sealed', why)
return { 'sealed', m[1], m[2] }
