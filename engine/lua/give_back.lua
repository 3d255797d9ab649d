#!lua flags=allow-oom
-- After the provider confirmed a refund before fulfilment: units and limit come back.
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
-- @key did string marker of the refund's id
-- @arg epoch str
-- @arg run_id str
-- @arg shard str
-- @arg nonce str
-- @arg claim_id str
-- @arg units int
-- @arg refund_id str
-- @arg did_keep_ms int
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @include waiting
-- @returns returned left | done | not_paid state | too_many left | unknown | reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
local c = load(claim_id)
if not c then return { 'unknown' } end
if c.state ~= 'paid' then return { 'not_paid', c.state } end
if units > tonumber(c.units) then return { 'too_many', c.units } end
local left = tonumber(c.units) - units
emit('claim.returned', 'claim_id', claim_id, 'offer_id', c.offer_id, 'refund_id', refund_id,
  'units', units, 'left', left)
redis.call('SET', did, 'claim.returned', 'PX', did_keep_ms)
redis.call('HINCRBY', offers .. c.offer_id, 'sold', -units)
redis.call('HINCRBY', offers .. c.offer_id, 'available', units)
redis.call('HINCRBY', limits .. c.offer_id, c.buyer_id, -units)
redis.call('HINCRBY', limits .. c.campaign_id, c.buyer_id, -units)
redis.call('HSET', claims .. claim_id, 'units', left)
if left == 0 then
  redis.call('HSET', claims .. claim_id, 'state', 'returned')
  redis.call('PEXPIREAT', claims .. claim_id, c.keep_until_ms)
  leave_seat(claim_id, c, 'paid', 'refunded')
end
serve(c.offer_id, '0')
return { 'returned', tostring(left) }
