#!lua
-- Add units to an offer that is on sale; those who wait for it come first.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key limits prefix
-- @key holds prefix
-- @key deadlines zset
-- @key claims prefix
-- @key groups prefix
-- @key answers prefix
-- @key waits prefix
-- @key did string marker of the command's id
-- @arg epoch str
-- @arg run_id str
-- @arg shard str
-- @arg nonce str
-- @arg offer_id str
-- @arg command_id str
-- @arg units int
-- @arg did_keep_ms int
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include waiting
-- @returns restocked total | done | unknown | reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
if redis.call('EXISTS', offers .. offer_id) == 0 then return { 'unknown' } end
local total = tonumber(redis.call('HGET', offers .. offer_id, 'total')) + units
emit('offer.restocked', 'offer_id', offer_id, 'command_id', command_id, 'units', units,
  'total', total)
redis.call('SET', did, 'offer.restocked', 'PX', did_keep_ms)
redis.call('HINCRBY', offers .. offer_id, 'total', units)
redis.call('HINCRBY', offers .. offer_id, 'available', units)
serve(offer_id, '0')
return { 'restocked', tostring(total) }
