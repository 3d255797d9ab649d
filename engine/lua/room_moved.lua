#!lua flags=allow-oom
-- The broadcaster says how far a shard's events are in the logs; never backwards, whoever says it.
-- @key position hash
-- @arg epoch int
-- @arg seq int
-- @returns moved | kept
local p = redis.call('HMGET', position, 'epoch', 'seq')
local at_epoch, at_seq = tonumber(p[1] or '-1'), tonumber(p[2] or '-1')
if at_epoch > epoch or (at_epoch == epoch and at_seq >= seq) then return { 'kept' } end
redis.call('HSET', position, 'epoch', string.format('%.0f', epoch),
  'seq', string.format('%.0f', seq))
return { 'moved' }
