-- land(c, live) → why not, or nil, how, team_id, team: where a late payment lands, as declared.
-- `live` tells that its units are still held for it.
local function fits(team_id, t, c)
  return t and t.offer_id == c.offer_id and is_open(t) and has_seat(t)
    and redis.call('HEXISTS', seats_of(team_id), c.buyer_id) == 0
end
local function land(c, live)
  local late, state, ends_ms, available, buyer_max, campaign_max, size, seat_qty, term_ms, only,
    waiting = unpack(redis.call('HMGET', offers .. c.offer_id, 'late', 'state', 'ends_at_ms',
      'available', 'per_buyer_max', 'per_campaign_max', 'size', 'seat_qty', 'term_ms',
      'newcomers_only', 'waiting'))
  if late == 'refund' then return 'refund' end
  if state == 'cancelled' then return 'cancelled' end
  local lands = state == 'open' or state == 'finishing'
  if not lands or now_ms >= tonumber(ends_ms) then return 'closed' end
  local units, left = tonumber(c.units), tonumber(available)
  if live then
    left = left + units
  else
    local mine = tonumber(redis.call('HGET', limits .. c.offer_id, c.buyer_id) or '0')
    local all = tonumber(redis.call('HGET', limits .. c.campaign_id, c.buyer_id) or '0')
    if mine + units > tonumber(buyer_max) or all + units > tonumber(campaign_max) then
      return 'limit_reached'
    end
    if units > left or (waiting and waiting ~= '0') then return 'sold_out' end
  end
  local newcomers = groups .. 'newcomers:' .. c.campaign_id
  if c.newcomer == '1' and redis.call('HEXISTS', newcomers, c.buyer_id) == 1 then
    return 'limit_reached'
  end
  if not c.team_id then return nil, '', '', nil end
  local t = team_of(c.team_id)
  if fits(c.team_id, t, c) then return nil, 'seat', c.team_id, t end
  if not t or t.kind == 'crowd' or late == 'seat' then return 'no_seat' end
  if c.consent == '1' and (only ~= '1' or c.newcomer == '1') then
    local near = redis.call('ZRANGE', groups .. 'joinable:' .. c.offer_id, now, '+inf', 'BYSCORE',
      'LIMIT', 0, 8)
    for _, id in ipairs(near) do
      local other = team_of(id)
      if fits(id, other, c) then return nil, 'other', id, other end
    end
  end
  if late ~= 'new' or state ~= 'open' then return 'no_seat' end
  local openers = groups .. 'openers:' .. c.offer_id
  if left < size * seat_qty or redis.call('HEXISTS', openers, c.buyer_id) == 1 then
    return 'no_seat'
  end
  local keep, version = unpack(redis.call('HMGET', offers .. c.offer_id, 'keep_until_ms',
    'version'))
  local deadline = math.min(now_ms + tonumber(term_ms), tonumber(ends_ms))
  return nil, 'new', string.format('tem-s%s-e%s-%.0f-%s', shard, epoch, last_seq + 1, nonce), {
    kind = 'team', state = 'opening', offer_id = c.offer_id, campaign_id = c.campaign_id,
    version = version, opener_id = c.buyer_id, size = size, keep_until_ms = keep,
    deadline_ms = string.format('%.0f', deadline) }
end
