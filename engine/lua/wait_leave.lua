#!lua flags=allow-oom
-- Wait no longer. Whoever was served or skipped before is not in the list any more.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key limits prefix
-- @key waits prefix
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg buyer_id str
-- @include fence
-- @include emit
-- @include waiting
-- @returns left | not_waiting units (that the buyer holds or has bought of this offer) | reopening
if not waits_for(offer_id, buyer_id) then
  return { 'not_waiting', redis.call('HGET', limits .. offer_id, buyer_id) or '0' }
end
emit('wait.left', 'offer_id', offer_id, 'buyer_id', buyer_id)
strike(offer_id, buyer_id)
return { 'left' }
