#!lua flags=no-writes
-- What a team is at this instant, by the store that its shard's epoch lives on: for who must not
-- act on what an older one, or a row that is behind, says.
-- @key meta hash the shard's fence
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg team_id str
-- @include fence
-- @returns team state step | unknown | reopening
local state, step = unpack(redis.call('HMGET', groups .. team_id, 'state', 'step'))
if not state then return { 'unknown' } end
return { 'team', state, step }
