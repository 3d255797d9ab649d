-- A claim takes, pays and leaves its seat. Nothing moves any more once its team is decided.
-- With the seat goes the right of a new customer; a claim without a team has it by itself.
local function take_right(claim_id, c)
  if c.newcomer == '1' then
    redis.call('HSET', groups .. 'newcomers:' .. c.campaign_id, c.buyer_id, claim_id)
  end
end
local function take_seat(team_id, t, claim_id, c, as)
  redis.call('HSET', seats_of(team_id), c.buyer_id, claim_id)
  redis.call('HSET', claims .. claim_id, 'team_id', team_id, 'seat', '1')
  c.team_id, c.seat = team_id, '1'
  take_right(claim_id, c)
  count(team_id, t, as, 1)
end
-- A crowd's ladder: each step latches once, and the price is switched in this very script.
local function climb(team_id, t)
  local ladder, charging = unpack(redis.call("HMGET", offers .. t.offer_id, "steps", "charging"))
  local step = 0
  for least, pid, fen in string.gmatch(ladder, '(%d+)|([^| ]+)|(%d+)') do
    step = step + 1
    if step > tonumber(t.step) and t.paid >= tonumber(least) then
      emit('crowd.reached', 'team_id', team_id, 'offer_id', t.offer_id, 'step', step,
        'price_id', pid, 'price_fen', fen, 'paid', t.paid)
      t.step = step
      redis.call('HSET', groups .. team_id, 'step', step)
      if t.state == 'forming' then
        t.state = 'reached'
        redis.call('HSET', groups .. team_id, 'state', 'reached')
      end
      if charging == 'low' then
        redis.call('HSET', offers .. t.offer_id, 'prices', pid .. '|' .. fen .. '|0')
      end
    end
  end
end
-- The claim's seat counts as paid from now on (`count` has been told).
local function seat_paid(team_id, t, claim_id, c)
  emit(t.kind == 'crowd' and 'crowd.progress' or 'team.seat_filled', 'team_id', team_id,
    'offer_id', t.offer_id, 'claim_id', claim_id, 'paid', t.paid)
  if t.state == 'opening' then
    t.state = 'forming'
    redis.call('HSET', groups .. team_id, 'state', 'forming')
  end
  if t.kind == 'crowd' then climb(team_id, t) else form_if_full(team_id, t) end
end
-- Who leads when the captain is gone: the earliest paid member, else the earliest seat.
local function successor(team_id)
  local best, best_rank, best_at, best_claim = '', 2, 0, ''
  local flat = redis.call('HGETALL', seats_of(team_id))
  for i = 1, #flat, 2 do
    local claim_id = flat[i + 1]
    local taken_at, paid_at = unpack(redis.call('HMGET', claims .. claim_id, 'taken_at_ms',
      'paid_at_ms'))
    local rank, at = paid_at and 0 or 1, tonumber(paid_at or taken_at)
    if rank < best_rank or (rank == best_rank and
        (at < best_at or (at == best_at and claim_id < best_claim))) then
      best, best_rank, best_at, best_claim = flat[i], rank, at, claim_id
    end
  end
  return best
end
-- The right to one open team follows the opener's lead: free when they leave it (they may have
-- opened another since they left it before), theirs again should they succeed their successor.
local function lead(team_id, t, before)
  local openers = groups .. 'openers:' .. t.offer_id
  if t.opener_id == before and redis.call('HGET', openers, before) == team_id then
    redis.call('HDEL', openers, before)
  elseif t.opener_id == t.captain_id then
    redis.call('HSETNX', openers, t.opener_id, team_id)
  end
end
local function leave_seat(claim_id, c, as, why)
  if c.team_id and c.seat ~= '1' then return end
  if c.newcomer == '1' then -- also of a decided team: who got all money back is new again
    redis.call('HDEL', groups .. 'newcomers:' .. c.campaign_id, c.buyer_id)
  end
  if not c.team_id then return end
  local t = team_of(c.team_id)
  if t.state == 'formed' or t.state == 'failed' then return end
  redis.call('HDEL', seats_of(c.team_id), c.buyer_id)
  redis.call('HSET', claims .. claim_id, 'seat', '')
  c.seat = ''
  count(c.team_id, t, as, -1)
  if t.kind == 'team' and t.captain_id == c.buyer_id then
    t.captain_id = successor(c.team_id)
    redis.call('HSET', groups .. c.team_id, 'captain_id', t.captain_id)
    lead(c.team_id, t, c.buyer_id)
  end
  emit(t.kind .. '.seat_left', 'team_id', c.team_id, 'offer_id', t.offer_id, 'claim_id', claim_id,
    'why', why, 'paid', t.paid, 'captain_id', t.captain_id)
  if t.kind == 'team' and taken(t) == tonumber(t.subsidy) then
    end_team(c.team_id, t, 'failed', 'empty')
  else
    list_team(c.team_id, t)
  end
end
