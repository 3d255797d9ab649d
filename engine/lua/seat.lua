#!lua
-- Hold a seat of a team or crowd with its units and limits, or say why not: `team_id` '' opens a
-- new team, whose price is fixed for its captain here. The hold never outlives the team's deadline.
-- Order of the checks: epoch, stored answer, lag, window, audience, team, price, limits, seat,
-- stock.
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
-- @arg team_id str
-- @arg consent str 1: may be moved to another team of this offer
-- @arg lag_max_ms int
-- @include fence
-- @include emit
-- @include ask
-- @include terms
-- @include hold
-- @include load
-- @include teams
-- @returns held|stored claim_id price_id price_fen expires_at_ms
-- @returns key_reused claim_id
-- @returns reopening | busy | unknown_offer | closed | not_open starts_at_ms | sold_out
-- @returns no_team (the offer has none) | unknown_team | team_over state | team_full
-- @returns in_team claim_id | team_open team_id | newcomers_only
-- @returns not_for_you audience
-- @returns price_changed price_id price_fen | limit_reached which max
if kind ~= 'team' and kind ~= 'crowd' then return { 'no_team' } end
local size, seat_qty, term_ms, newcomers_only, captain_price, crowd_id = unpack(redis.call('HMGET',
  offer, 'size', 'seat_qty', 'term_ms', 'newcomers_only', 'captain_price', 'crowd_id'))
if kind == 'crowd' and team_id == '' then team_id = crowd_id end
local opens = team_id == ''
if opens and state == 'finishing' then return { 'closed' } end
local t
if opens then
  local deadline = math.min(now_ms + tonumber(term_ms), tonumber(ends_ms))
  t = { kind = kind, state = 'opening', offer_id = offer_id, campaign_id = campaign_id,
    version = version, opener_id = buyer_id, size = size, keep_until_ms = keep_until_ms,
    deadline_ms = string.format('%.0f', deadline) }
else
  t = team_of(team_id)
  if not t or t.offer_id ~= offer_id then return { 'unknown_team' } end
  local mine = redis.call('HGET', seats_of(team_id), buyer_id)
  if mine then return { 'in_team', mine } end
  if not is_open(t) then
    local decided = t.state == 'formed' or t.state == 'failed'
    local says = decided or now_ms < tonumber(t.deadline_ms)
    return { 'team_over', says and t.state or 'closing' }
  end
end

local pid, fen = price_now()
if opens and captain_price ~= '' then
  pid, fen = string.match(captain_price, '^(.+)|(%d+)$')
end
if pid ~= price_id then return { 'price_changed', pid, fen } end
if seat_qty ~= '0' and qty ~= tonumber(seat_qty) then return { 'limit_reached', 'seat', seat_qty } end
if newcomers_only == '1' and not opens then
  if not is_one_of('new') then return { 'newcomers_only' } end
  right = '1'
end
local over = limit_reached()
if over then return over end
if opens then
  local other = redis.call('HGET', groups .. 'openers:' .. offer_id, buyer_id)
  if other then return { 'team_open', other } end
  -- Stock is held seat by seat, but nobody opens a team that could not be filled.
  if tonumber(available) < size * seat_qty then return { 'sold_out' } end
elseif not has_seat(t) then
  return { 'team_full' }
end
if qty > tonumber(available) then return { 'sold_out' } end

if opens then
  team_id = string.format('tem-s%s-e%s-%.0f-%s', shard, epoch, last_seq + 1, nonce)
  open_team(team_id, t)
end
local reply = hold(pid, fen, math.min(now_ms + tonumber(hold_ms), tonumber(t.deadline_ms)),
  'team_id', team_id, 'consent', consent, 'newcomer', right)
if opens then t = team_of(team_id) end
redis.call('HSET', seats_of(team_id), buyer_id, reply[2])
redis.call('HSET', claims .. reply[2], 'seat', '1', 'taken_at_ms', now)
count(team_id, t, 'held', 1)
list_team(team_id, t)
return reply
