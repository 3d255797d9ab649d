#!lua flags=no-writes
-- Is an offer plainly sold out, whoever asks? One look is shared by all claims of a loop turn in a
-- process that remembers so. It holds for buyers without an entry in the offer's limits: those were
-- never held anything here and have no stored answer. Entries are never removed within an epoch,
-- so their number is the version of who they are.
-- The checks are those of claim, in its order; whatever else holds is for claim to say.
-- @key meta hash the shard's fence
-- @key offer hash
-- @key offer_limits hash buyer to units
-- @arg epoch str
-- @arg run_id str
-- @arg lag_max_ms int
-- @include fence
-- @returns sold_out price_id qty_max holders | look_closer | reopening
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
if fence[4] ~= fence[5] and now_ms - tonumber(fence[6]) > lag_max_ms then
  return { 'look_closer' }
end
local state, starts_ms, ends_ms, available, waiting, order_max, buyer_max, campaign_max, prices =
  unpack(redis.call('HMGET', offer, 'state', 'starts_at_ms', 'ends_at_ms', 'available', 'waiting',
    'per_order_max', 'per_buyer_max', 'per_campaign_max', 'prices'))
if state ~= 'open' or now_ms >= tonumber(ends_ms) or now_ms < tonumber(starts_ms) then
  return { 'look_closer' }
end
if tonumber(available) > 0 and (waiting or '0') == '0' then return { 'look_closer' } end
local most = math.min(tonumber(order_max), tonumber(buyer_max), tonumber(campaign_max))
for id, _, from_ms in string.gmatch(prices, '([^| ]+)|(%d+)|(%d+)') do
  if now_ms >= tonumber(from_ms) then
    return { 'sold_out', id, string.format('%.0f', most),
      tostring(redis.call('HLEN', offer_limits)) }
  end
end
