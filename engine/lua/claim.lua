#!lua
-- Hold `qty` units of an offer for a buyer, or say why not. Seat of every later right: one
-- script decides stock, limits, window and price, and appends claim.held.
-- Order of the checks: epoch, stored answer, lag, window, audience, price, limits, stock.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offer hash
-- @key offer_limits hash buyer to units
-- @key campaign_limits hash buyer to units
-- @key offer_holds hash claim_id to units
-- @key deadlines zset
-- @key idem string stored answer of (buyer, offer, key)
-- @key claims prefix
-- @key groups prefix
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
-- @include fence
-- @include emit
-- @include ask
-- @include terms
-- @include hold
-- @returns held|stored claim_id price_id price_fen expires_at_ms
-- @returns key_reused claim_id
-- @returns reopening | busy | unknown_offer | closed | not_open starts_at_ms | sold_out
-- @returns not_for_you audience
-- @returns needs_team (the offer is a group buy's: see seat)
-- @returns price_changed price_id price_fen | limit_reached which max
if kind == 'team' or kind == 'crowd' then return { 'needs_team' } end
local pid, fen = price_now()
if pid ~= price_id then return { 'price_changed', pid, fen } end
local over = limit_reached()
if over then return over end
if qty > tonumber(available) or (waiting and waiting ~= '0') then return { 'sold_out' } end
return hold(pid, fen, now_ms + tonumber(hold_ms), as_newcomer())
