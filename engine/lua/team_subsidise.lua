#!lua
-- The merchant fills `seats` of a team, labelled as such and within the offer's budget. Such a
-- seat has no member and no units.
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
-- @arg did_keep_ms int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @returns subsidised state | over_budget left | no_seat left | not_open state | done | unknown
-- @returns reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
local t = team_of(team_id)
if not t or t.kind ~= 'team' then return { 'unknown' } end
if t.state ~= 'forming' and t.state ~= 'closing' then return { 'not_open', t.state } end
local free = tonumber(t.size) - taken(t)
if seats > free then return { 'no_seat', tostring(free) } end
local budget, used = unpack(redis.call('HMGET', offers .. t.offer_id, 'subsidy_max', 'subsidised'))
local left = tonumber(budget) - tonumber(used or '0')
if seats > left then return { 'over_budget', tostring(left) } end
emit('team.subsidised', 'team_id', team_id, 'offer_id', t.offer_id, 'command_id', command_id,
  'seats', seats)
redis.call('SET', did, 'team.subsidised', 'PX', did_keep_ms)
redis.call('HINCRBY', offers .. t.offer_id, 'subsidised', seats)
count(team_id, t, 'subsidy', seats)
form_if_full(team_id, t)
return { 'subsidised', t.state }
