-- hold(pid, fen, expires_ms, …) takes the units; more fields are the event's and the claim's.
-- The one place where a claim begins, for whoever asks and for those who wait; as `terms`, it
-- works on what is in scope.
local function hold(pid, fen, expires_ms, ...)
  local expires = string.format('%.0f', expires_ms)
  local next_seq = string.format('%.0f', last_seq + 1)
  local claim_id = 'clm-s' .. shard .. '-e' .. epoch .. '-' .. next_seq .. '-' .. nonce
  emit('claim.held', 'claim_id', claim_id, 'offer_id', offer_id, 'campaign_id', campaign_id,
    'version', version, 'buyer_id', buyer_id, 'qty', qty, 'price_id', pid, 'price_fen', fen,
    'expires_at_ms', expires, 'key', key, 'body_hash', body_hash, 'touch', touch, ...)
  available, held = available - qty, held + qty
  redis.call('HSET', offer, 'available', available, 'held', held)
  redis.call('HINCRBY', offer_limits, buyer_id, qty)
  redis.call('HINCRBY', campaign_limits, buyer_id, qty)
  redis.call('HSET', offer_holds, claim_id, qty)
  redis.call('ZADD', deadlines, expires, claim_id)
  redis.call('HSET', claims .. claim_id, 'state', 'held', 'offer_id', offer_id, 'campaign_id',
    campaign_id, 'buyer_id', buyer_id, 'units', qty, 'price_id', pid, 'price_fen', fen,
    'expires_at_ms', expires, 'epoch', epoch, 'seq', next_seq, 'keep_until_ms', keep_until_ms, ...)
  if right == '1' then
    redis.call('HSET', groups .. 'newcomers:' .. campaign_id, buyer_id, claim_id)
  end
  redis.call('SET', idem, table.concat({ body_hash, claim_id, pid, fen, expires }, ' '),
    'PXAT', keep_until_ms)
  return { 'held', claim_id, pid, fen, expires }
end
