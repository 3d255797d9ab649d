#!lua
-- Wait for `qty` units of an offer, or say why not; who waits already keeps their place. What is
-- free, and fits nobody before, is held at once.
-- Order of the checks: epoch, stored answer, lag, window, audience, kind, entry, price, limits,
-- stock, room. Who waits is one of the offer's audience: that is not asked again.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offer hash
-- @key offer_limits hash buyer to units
-- @key campaign_limits hash buyer to units
-- @key idem string stored answer of (buyer, offer, key)
-- @key offers prefix
-- @key limits prefix
-- @key holds prefix
-- @key deadlines zset
-- @key claims prefix
-- @key groups prefix
-- @key answers prefix
-- @key waits prefix
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
-- @arg traits str what the token says of the buyer
-- @arg lag_max_ms int
-- @arg wait_max int
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include ask
-- @include terms
-- @include waiting
-- @returns waiting place (joined now or before)
-- @returns held|stored claim_id price_id price_fen expires_at_ms
-- @returns key_reused claim_id ('' when it is that of an entry with another body)
-- @returns available (nobody waits and the units are there: claim) | too_few total | wait_full
-- @returns reopening | busy | unknown_offer | closed | not_open starts_at_ms
-- @returns not_for_you audience
-- @returns no_waiting (the offer is a group buy's)
-- @returns price_changed price_id price_fen | limit_reached which max
if kind == 'team' or kind == 'crowd' then return { 'no_waiting' } end
local mine, _, with_key, with_hash = waits_for(offer_id, buyer_id)
if mine then
  if with_key == key and with_hash ~= body_hash then return { 'key_reused', '' } end
  return { 'waiting', redis.call('ZSCORE', waits .. offer_id, buyer_id) }
end
local pid, fen = price_now()
if pid ~= price_id then return { 'price_changed', pid, fen } end
local over = limit_reached()
if over then return over end
local total, last_place = unpack(redis.call('HMGET', offer, 'total', 'wait_place'))
if qty > tonumber(total) then return { 'too_few', total } end
waiting = tonumber(waiting or '0')
if waiting == 0 and qty <= tonumber(available) then return { 'available' } end
if waiting >= wait_max then return { 'wait_full' } end

local place = string.format('%.0f', tonumber(last_place or '0') + 1)
emit('wait.joined', 'offer_id', offer_id, 'buyer_id', buyer_id, 'qty', qty, 'price_id', price_id,
  'key', key, 'body_hash', body_hash, 'touch', touch, 'place', place)
redis.call('ZADD', waits .. offer_id, place, buyer_id)
redis.call('HSET', waits .. offer_id .. ':entries', buyer_id,
  table.concat({ qty, price_id, key, body_hash, touch }, '|'))
redis.call('HSET', offer, 'waiting', waiting + 1, 'wait_place', place)
local _, served = serve(offer_id, '0')
return served[buyer_id] or { 'waiting', place }
