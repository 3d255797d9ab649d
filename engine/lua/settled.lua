#!lua flags=allow-oom
-- The settler says how far PostgreSQL is; never backwards. Meta then also says since when the
-- oldest event behind that waits.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @arg epoch str
-- @arg run_id str
-- @arg seq int
-- @include fence
-- @returns settled seq | reopening
local text = string.format('%.0f', seq)
if seq <= tonumber(fence[5]) then return { 'settled', text } end
redis.call('HSET', meta, 'settled_seq', text)
local oldest = redis.call('XRANGE', events, '(' .. text .. '-0', '+', 'COUNT', 1)[1]
if oldest then redis.call('HSET', meta, 'waits_since_ms', oldest[2][4]) end
return { 'settled', text }
