#!lua flags=allow-oom
-- No new claims; held and paying ones go their way. `frozen` is the same, said by the SQL guard.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg command_id str
-- @arg state str
-- @include fence
-- @include emit
-- @returns closed | done | unknown | reopening
local was = redis.call('HGET', offers .. offer_id, 'state')
if not was then return { 'unknown' } end
if redis.call('HGET', offers .. offer_id, 'closed_by') == command_id then return { 'done' } end
emit('offer.closed', 'offer_id', offer_id, 'command_id', command_id, 'state', state)
redis.call('HSET', offers .. offer_id, 'state', state, 'closed_by', command_id)
return { 'closed' }
