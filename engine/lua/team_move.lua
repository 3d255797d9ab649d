#!lua flags=allow-oom
-- Rescue: a paid member of a closing team that would fail goes, with their consent, to a free
-- seat of a forming team of the same offer, or of another closing one. Price and units stay.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key claims prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg claim_id str
-- @arg team_id str where to
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @returns moved state (of the team they are in now) | not_paid state | no_consent | no_seat
-- @returns not_failing (their team may still form) | unknown | reopening
local c = load(claim_id)
if not c then return { 'unknown' } end
if c.state ~= 'paid' or c.seat ~= '1' then return { 'not_paid', c.state } end
if c.consent ~= '1' then return { 'no_consent' } end
local from, to = team_of(c.team_id), team_of(team_id)
if not to then return { 'unknown' } end
if from.kind ~= 'team' or from.state ~= 'closing' or from.paying ~= '0' then
  return { 'not_failing' }
end
local only, selling = unpack(redis.call('HMGET', offers .. c.offer_id, 'newcomers_only', 'state'))
local open = is_open(to) or (to.state == 'closing' and to.paying == '0')
if team_id == c.team_id or to.offer_id ~= c.offer_id or not open or not has_seat(to)
    or (only == '1' and c.newcomer ~= '1') or selling == 'cancelled'
    or redis.call('HEXISTS', seats_of(team_id), c.buyer_id) == 1 then
  return { 'no_seat' }
end
local before = c.team_id
emit('team.seat_moved', 'team_id', team_id, 'from_team_id', before, 'offer_id', c.offer_id,
  'claim_id', claim_id)
leave_seat(claim_id, c, 'paid', 'moved')
take_seat(team_id, to, claim_id, c, 'paid')
seat_paid(team_id, to, claim_id, c)
return { 'moved', to.state }
