#!lua flags=allow-oom
-- The settler says how far PostgreSQL is; never backwards.
-- @key meta hash the shard's fence
-- @arg epoch str
-- @arg run_id str
-- @arg seq int
-- @include fence
-- @returns settled seq | reopening
if seq > tonumber(fence[5]) then redis.call('HSET', meta, 'settled_seq', string.format('%.0f', seq)) end
return { 'settled', string.format('%.0f', seq) }
