#!lua
-- Hold `qty` units of an offer for a buyer, or say why not. Seat of every later right: one
-- script decides stock, limits, window and price, and appends claim.held.
-- Order of the checks: epoch, stored answer, lag, window, price, limits, stock.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offer hash
-- @key prices zset of `price_id|fen` by from_ms
-- @key offer_limits hash buyer to units
-- @key campaign_limits hash buyer to units
-- @key holds hash claim_id to units
-- @key deadlines zset
-- @key idem string stored answer of (buyer, offer, key)
-- @key claims prefix
-- @arg epoch str
-- @arg run_id str
-- @arg shard str
-- @arg nonce str
-- @arg offer_id str
-- @arg buyer_id str
-- @arg qty int
-- @arg price_id str
-- @arg key str
-- @arg body_hash str
-- @arg touch str
-- @arg lag_max_ms int
-- @include fence
-- @include emit
-- @returns held|stored claim_id price_id price_fen expires_at_ms
-- @returns key_reused claim_id
-- @returns reopening | busy | unknown_offer | closed | not_open starts_at_ms | sold_out
-- @returns price_changed price_id price_fen | limit_reached which max
local stored = redis.call('GET', idem)
if stored then
  local hash, id, pid, fen, exp = string.match(stored, '^(%S*) (%S+) (%S+) (%S+) (%S+)$')
  if hash ~= body_hash then return { 'key_reused', id } end
  return { 'stored', id, pid, fen, exp }
end

if fence[5] ~= fence[4] then
  -- Someone waits for the settler: how long has the oldest unsettled event been there?
  local oldest = redis.call('XRANGE', events, '(' .. fence[5] .. '-0', '+', 'COUNT', 1)[1]
  if oldest and now_ms - tonumber(oldest[2][4]) > lag_max_ms then return { 'busy' } end
end

local o = redis.call('HMGET', offer, 'state', 'starts_at_ms', 'ends_at_ms', 'available',
  'per_order_max', 'per_buyer_max', 'per_campaign_max', 'hold_ms', 'campaign_id', 'version',
  'keep_until_ms')
if not o[1] then return { 'unknown_offer' } end
if o[1] ~= 'open' or now_ms >= tonumber(o[3]) then return { 'closed' } end
if now_ms < tonumber(o[2]) then return { 'not_open', o[2] } end

local price = redis.call('ZRANGE', prices, now, '-inf', 'BYSCORE', 'REV', 'LIMIT', 0, 1)[1]
local pid, fen = string.match(price, '^(.+)|(%d+)$')
if pid ~= price_id then return { 'price_changed', pid, fen } end

if qty > tonumber(o[5]) then return { 'limit_reached', 'order', o[5] } end
local mine = tonumber(redis.call('HGET', offer_limits, buyer_id) or '0')
if mine + qty > tonumber(o[6]) then return { 'limit_reached', 'offer', o[6] } end
mine = tonumber(redis.call('HGET', campaign_limits, buyer_id) or '0')
if mine + qty > tonumber(o[7]) then return { 'limit_reached', 'campaign', o[7] } end

if qty > tonumber(o[4]) then return { 'sold_out' } end

local expires = string.format('%.0f', now_ms + tonumber(o[8]))
local next_seq = string.format('%.0f', tonumber(fence[4]) + 1)
local claim_id = 'clm-s' .. shard .. '-e' .. epoch .. '-' .. next_seq .. '-' .. nonce
emit('claim.held', 'claim_id', claim_id, 'offer_id', offer_id, 'campaign_id', o[9],
  'version', o[10], 'buyer_id', buyer_id, 'qty', qty, 'price_id', pid, 'price_fen', fen,
  'expires_at_ms', expires, 'key', key, 'body_hash', body_hash, 'touch', touch)
redis.call('HINCRBY', offer, 'available', -qty)
redis.call('HINCRBY', offer, 'held', qty)
redis.call('HINCRBY', offer_limits, buyer_id, qty)
redis.call('HINCRBY', campaign_limits, buyer_id, qty)
redis.call('HSET', holds, claim_id, qty)
redis.call('ZADD', deadlines, expires, claim_id)
redis.call('HSET', claims .. claim_id, 'state', 'held', 'offer_id', offer_id, 'campaign_id', o[9],
  'buyer_id', buyer_id, 'units', qty, 'price_id', pid, 'price_fen', fen,
  'expires_at_ms', expires, 'epoch', epoch, 'seq', next_seq, 'keep_until_ms', o[11])
redis.call('SET', idem, table.concat({ body_hash, claim_id, pid, fen, expires }, ' '),
  'PXAT', o[11])
return { 'held', claim_id, pid, fen, expires }
