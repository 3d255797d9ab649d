#!lua flags=allow-oom
-- No new claims; held and paying ones go their way. `frozen` is the same, said by the SQL guard.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key did string marker of the command's id
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg command_id str
-- @arg state str
-- @arg did_keep_ms int
-- @include fence
-- @include emit
-- @returns closed | done | unknown | reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
if redis.call('EXISTS', offers .. offer_id) == 0 then return { 'unknown' } end
emit('offer.closed', 'offer_id', offer_id, 'command_id', command_id, 'state', state)
redis.call('SET', did, 'offer.closed', 'PX', did_keep_ms)
redis.call('HSET', offers .. offer_id, 'state', state)
return { 'closed' }
