#!lua
-- The merchant fills `seats` of a team, labelled as such and within the offer's budget. Such a
-- seat has no member and no units. With `honour` the offer was cancelled and promised it: these
-- seats are outside of the budget, and only for teams that would fail.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key groups prefix
-- @key did string marker of the command's id
-- @arg epoch str
-- @arg run_id str
-- @arg team_id str
-- @arg command_id str
-- @arg seats int
-- @arg honour str 1, or empty
-- @arg did_keep_ms int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include cancelled
-- @returns subsidised state | over_budget left | no_seat left | not_open state | done | unknown
-- @returns reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
local t = team_of(team_id)
if not t or t.kind ~= 'team' then return { 'unknown' } end
local fits = t.state == 'closing' or (t.state == 'forming' and honour == '')
if not fits or (honour == '1' and (t.paying ~= '0' or not is_honoured(t))) then
  return { 'not_open', t.state }
end
local free = tonumber(t.size) - taken(t)
if seats > free then return { 'no_seat', tostring(free) } end
local budget, used = unpack(redis.call('HMGET', offers .. t.offer_id, 'subsidy_max', 'subsidised'))
local left = tonumber(budget) - tonumber(used or '0')
if seats > left and honour == '' then return { 'over_budget', tostring(left) } end
emit('team.subsidised', 'team_id', team_id, 'offer_id', t.offer_id, 'command_id', command_id,
  'seats', seats, 'honour', honour)
redis.call('SET', did, 'team.subsidised', 'PX', did_keep_ms)
if honour == '' then
  redis.call('HINCRBY', offers .. t.offer_id, 'subsidised', seats)
else
  count(team_id, t, 'honoured', seats)
end
count(team_id, t, 'subsidy', seats)
form_if_full(team_id, t)
return { 'subsidised', t.state }
