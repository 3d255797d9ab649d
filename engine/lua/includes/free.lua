-- free(claim_id, c, units, why) gives a held or paying claim's units, limits and seat back;
-- the units go to those who wait.
local function free(claim_id, c, units, why)
  redis.call('HINCRBY', offers .. c.offer_id, 'held', -units)
  redis.call('HINCRBY', offers .. c.offer_id, 'available', units)
  redis.call('HINCRBY', limits .. c.offer_id, c.buyer_id, -units)
  redis.call('HINCRBY', limits .. c.campaign_id, c.buyer_id, -units)
  redis.call('HDEL', holds .. c.offer_id, claim_id)
  redis.call('ZREM', deadlines, claim_id)
  redis.call('HSET', claims .. claim_id, 'state', 'released')
  redis.call('PEXPIREAT', claims .. claim_id, c.keep_until_ms)
  leave_seat(claim_id, c, c.state, why)
  serve(c.offer_id, '0')
end
