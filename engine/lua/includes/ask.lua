-- What claim, seat and wait_join have in common: stored answer, lag, window and audience are checked
-- here, in this order; what comes next is in `terms` and `hold`. A trait in `traits` is the first
-- letter of the audience that it lets in.
local stored = redis.call('GET', idem)
if stored then
  local hash, id, pid, fen, exp = string.match(stored, '^(%S*) (%S+) (%S+) (%S+) (%S+)$')
  if hash ~= body_hash then return { 'key_reused', id } end
  return { 'stored', id, pid, fen, exp }
end

-- The settler is behind: how long has the oldest unsettled event been waiting?
if not all_settled and now_ms - tonumber(fence[6]) > lag_max_ms then return { 'busy' } end

local state, starts_ms, ends_ms, available, held, order_max, buyer_max, campaign_max, hold_ms,
  campaign_id, version, keep_until_ms, prices, kind, waiting,
  audience = unpack(redis.call('HMGET', offer,
  'state', 'starts_at_ms', 'ends_at_ms', 'available', 'held', 'per_order_max', 'per_buyer_max',
  'per_campaign_max', 'hold_ms', 'campaign_id', 'version', 'keep_until_ms', 'prices', 'kind',
  'waiting', 'audience'))
if not state then return { 'unknown_offer' } end
-- `finishing` (only of group buys) still takes seats in teams that are open: see seat.
if (state ~= 'open' and state ~= 'finishing') or now_ms >= tonumber(ends_ms) then
  return { 'closed' }
end
if now_ms < tonumber(starts_ms) then return { 'not_open', starts_ms } end
local function is_one_of(who) return string.find(traits, string.sub(who, 1, 1), 1, true) ~= nil end
if audience and audience ~= 'all' and not is_one_of(audience) then
  return { 'not_for_you', audience }
end
