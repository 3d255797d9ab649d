#!lua
-- Add units to an offer that is on sale.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key did string marker of the command's id
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg command_id str
-- @arg units int
-- @arg did_keep_ms int
-- @include fence
-- @include emit
-- @returns restocked total | done | unknown | reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
if redis.call('EXISTS', offers .. offer_id) == 0 then return { 'unknown' } end
local total = tonumber(redis.call('HGET', offers .. offer_id, 'total')) + units
emit('offer.restocked', 'offer_id', offer_id, 'command_id', command_id, 'units', units,
  'total', total)
redis.call('SET', did, 'offer.restocked', 'PX', did_keep_ms)
redis.call('HINCRBY', offers .. offer_id, 'total', units)
redis.call('HINCRBY', offers .. offer_id, 'available', units)
return { 'restocked', tostring(total) }
