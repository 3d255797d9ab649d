-- price_now() → price_id, fen; limit_reached() → nil or the reply. Of the offer and the buyer whose
-- fields are in scope: those that `ask` has read, or one that waits (`waiting`). `right` is '1' when
-- the claim takes the right of a new customer, one in a campaign; as_newcomer() are its fields.
local right = audience == 'new' and '1' or ''
local function as_newcomer() if right == '1' then return 'newcomer', right end end
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
  if right == '1' then
    local newcomers = groups .. 'newcomers:' .. campaign_id
    if redis.call('HEXISTS', newcomers, buyer_id) == 1 then
      return { 'limit_reached', 'newcomer', '1' }
    end
  end
end
