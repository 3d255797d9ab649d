#!lua flags=allow-oom
-- Decide a closing team. While seats are being paid it waits; at `closing_max_ms` after its
-- deadline these count as unpaid and leave it: they keep their units until the receipt, and a
-- payment then is late. Who they are the caller reads from the orders, a bounded batch at a time.
-- The call that makes seats leave decides nothing: a rescue of the others comes before the end.
-- A team that a cancelled campaign honours does not fail: the caller fills it (team_subsidise).
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key claims prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg team_id str
-- @arg unpaid str JSON list of claim ids
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @include cancelled
-- @returns formed | failed | honours missing | waiting paying | left seats | not_closing state
-- @returns unknown | reopening
local t = team_of(team_id)
if not t then return { 'unknown' } end
if t.state ~= 'closing' then return { 'not_closing', t.state } end
if tonumber(t.paying) > 0 then
  local most = tonumber(redis.call('HGET', offers .. t.offer_id, 'closing_max_ms'))
  if now_ms < tonumber(t.deadline_ms) + most then return { 'waiting', t.paying } end
  local left = 0
  for _, claim_id in ipairs(cjson.decode(unpaid)) do
    local c = load(claim_id)
    if c and c.state == 'paying' and c.seat == '1' and c.team_id == team_id then
      leave_seat(claim_id, c, 'paying', 'unpaid')
      left = left + 1
    end
  end
  t = team_of(team_id)
  if t.state ~= 'closing' then return { t.state } end
  return { 'left', tostring(left) }
end
if t.kind == 'crowd' and tonumber(t.step) > 0 then
  end_team(team_id, t, 'formed', 'reached')
elseif is_honoured(t) then
  return { 'honours', string.format('%.0f', t.size - taken(t)) }
else
  end_team(team_id, t, 'failed', is_cancelled(t) and 'cancelled' or 'deadline')
end
return { t.state }
