-- What claim and seat have in common: stored answer, lag and window are checked here, in this
-- order; price_now(), limit_reached() and hold() are for the script, in this order.
local stored = redis.call('GET', idem)
if stored then
  local hash, id, pid, fen, exp = string.match(stored, '^(%S*) (%S+) (%S+) (%S+) (%S+)$')
  if hash ~= body_hash then return { 'key_reused', id } end
  return { 'stored', id, pid, fen, exp }
end

-- The settler is behind: how long has the oldest unsettled event been waiting?
if not all_settled and now_ms - tonumber(fence[6]) > lag_max_ms then return { 'busy' } end

local state, starts_ms, ends_ms, available, held, order_max, buyer_max, campaign_max, hold_ms,
  campaign_id, version, keep_until_ms, prices, kind = unpack(redis.call('HMGET', offer, 'state',
  'starts_at_ms', 'ends_at_ms', 'available', 'held', 'per_order_max', 'per_buyer_max',
  'per_campaign_max', 'hold_ms', 'campaign_id', 'version', 'keep_until_ms', 'prices', 'kind'))
if not state then return { 'unknown_offer' } end
if state ~= 'open' or now_ms >= tonumber(ends_ms) then return { 'closed' } end
if now_ms < tonumber(starts_ms) then return { 'not_open', starts_ms } end

local function price_now() -- the list is newest first: the first interval that has begun holds
  for id, price_fen, from_ms in string.gmatch(prices, '([^| ]+)|(%d+)|(%d+)') do
    if now_ms >= tonumber(from_ms) then return id, price_fen end
  end
end
local function limit_reached()
  if qty > tonumber(order_max) then return { 'limit_reached', 'order', order_max } end
  local mine = tonumber(redis.call('HGET', offer_limits, buyer_id) or '0')
  if mine + qty > tonumber(buyer_max) then return { 'limit_reached', 'offer', buyer_max } end
  mine = tonumber(redis.call('HGET', campaign_limits, buyer_id) or '0')
  if mine + qty > tonumber(campaign_max) then
    return { 'limit_reached', 'campaign', campaign_max }
  end
end
-- hold(pid, fen, expires_ms, …) takes the units; more fields are the event's and the claim's.
local function hold(pid, fen, expires_ms, ...)
  local expires = string.format('%.0f', expires_ms)
  local next_seq = string.format('%.0f', last_seq + 1)
  local claim_id = 'clm-s' .. shard .. '-e' .. epoch .. '-' .. next_seq .. '-' .. nonce
  emit('claim.held', 'claim_id', claim_id, 'offer_id', offer_id, 'campaign_id', campaign_id,
    'version', version, 'buyer_id', buyer_id, 'qty', qty, 'price_id', pid, 'price_fen', fen,
    'expires_at_ms', expires, 'key', key, 'body_hash', body_hash, 'touch', touch, ...)
  redis.call('HSET', offer, 'available', available - qty, 'held', held + qty)
  redis.call('HINCRBY', offer_limits, buyer_id, qty)
  redis.call('HINCRBY', campaign_limits, buyer_id, qty)
  redis.call('HSET', holds, claim_id, qty)
  redis.call('ZADD', deadlines, expires, claim_id)
  redis.call('HSET', claims .. claim_id, 'state', 'held', 'offer_id', offer_id, 'campaign_id',
    campaign_id, 'buyer_id', buyer_id, 'units', qty, 'price_id', pid, 'price_fen', fen,
    'expires_at_ms', expires, 'epoch', epoch, 'seq', next_seq, 'keep_until_ms', keep_until_ms, ...)
  redis.call('SET', idem, table.concat({ body_hash, claim_id, pid, fen, expires }, ' '),
    'PXAT', keep_until_ms)
  return { 'held', claim_id, pid, fen, expires }
end
