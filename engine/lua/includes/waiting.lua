-- The list of those who wait for units of an offer: `<offer_id>` buyers by their place,
-- `<offer_id>:entries` what each asked for, and how many they are in the offer's `waiting`.
local function strike(offer_id, buyer_id)
  redis.call('ZREM', waits .. offer_id, buyer_id)
  redis.call('HDEL', waits .. offer_id .. ':entries', buyer_id)
  redis.call('HINCRBY', offers .. offer_id, 'waiting', -1)
end
local function waits_for(offer_id, buyer_id) -- → nil or qty, price_id, key, body_hash, touch
  local entry = redis.call('HGET', waits .. offer_id .. ':entries', buyer_id)
  if entry then return string.match(entry, '^(%d+)|([^|]*)|([^|]*)|([^|]*)|(.*)$') end
end
-- serve(offer_id, after) holds free units for the first who wait behind place `after` and whom
-- they fit, at most `wait_scan_max` looked at. Whose price, limit or window does not hold any more
-- is told so and goes; who wants more than is free stays. Each script that frees units ends so,
-- so no direct claim can come between. Returns the places' last one looked at ('' at the end of
-- the list), and buyer to reply of whom it held for.
local function serve(offer_id, after)
  local offer = offers .. offer_id
  local state, ends_ms, available, held, order_max, buyer_max, campaign_max, hold_ms, campaign_id,
    version, keep_until_ms, prices, waiting, audience = unpack(redis.call('HMGET', offer, 'state',
    'ends_at_ms', 'available', 'held', 'per_order_max', 'per_buyer_max', 'per_campaign_max',
    'hold_ms', 'campaign_id', 'version', 'keep_until_ms', 'prices', 'waiting', 'audience'))
  local served = {}
  if not waiting or waiting == '0' then return '', served end
  local offer_holds, offer_limits = holds .. offer_id, limits .. offer_id
  local campaign_limits = limits .. campaign_id
  local buyer_id, qty, price_id, key, body_hash, touch, idem
  -- @include terms
  -- @include hold
  local over = state ~= 'open' or now_ms >= tonumber(ends_ms)
  local function why_not()
    if over then return 'closed' end
    local pid, fen = price_now()
    if pid ~= price_id then return 'price_changed' end
    local limit = limit_reached()
    return limit and limit[1], fen
  end
  local front = redis.call('ZRANGE', waits .. offer_id, '(' .. after, '+inf', 'BYSCORE', 'LIMIT', 0,
    wait_scan_max, 'WITHSCORES')
  for i = 1, #front, 2 do
    if not over and tonumber(available) == 0 then return '', served end
    buyer_id = front[i]
    qty, price_id, key, body_hash, touch = waits_for(offer_id, buyer_id)
    qty = tonumber(qty)
    local why, fen = why_not()
    if why then
      emit('wait.skipped', 'offer_id', offer_id, 'buyer_id', buyer_id, 'why', why)
      strike(offer_id, buyer_id)
    elseif qty <= tonumber(available) then
      idem = answers .. buyer_id .. ':' .. offer_id .. ':' .. key
      served[buyer_id] = hold(price_id, fen, now_ms + tonumber(hold_ms), as_newcomer())
      strike(offer_id, buyer_id)
    end
  end
  return #front == 2 * wait_scan_max and front[#front] or '', served
end
