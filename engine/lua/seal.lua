#!lua flags=allow-oom
-- Close the shard to all commands. Only for callers that know of no newer epoch; missing meta
-- stays missing. From here on no reopening under the caller's epoch or an older one begins or
-- opens any more: what it opened would be rebuilt over by the next one, and its claims lost.
-- @key meta hash
-- @key token string
-- @arg epoch int the caller's epoch in PostgreSQL
-- @arg why str
-- @returns sealed epoch seq | newer epoch | missing
local m = redis.call('HMGET', meta, 'epoch', 'seq')
if m[1] and tonumber(m[1]) > epoch then return { 'newer', m[1] } end
local begun = tonumber(redis.call('GET', token) or '0')
if begun <= epoch then redis.call('SET', token, epoch + 1) end
if not m[1] then return { 'missing' } end
redis.call('HSET', meta, 'sealed', why)
return { 'sealed', m[1], m[2] }
