#!lua flags=allow-oom
-- No new claims; held and paying ones go their way. `frozen` is the same, said by the SQL guard.
-- `cancelled` is the campaign's kill switch, and final. Declared as `finish` it leaves open teams
-- and a crowd that has begun as they are: `finishing` takes seats in these, and opens no team.
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
local before, on_cancel, kind, starts_ms = unpack(redis.call('HMGET', offers .. offer_id, 'state',
  'on_cancel', 'kind', 'starts_at_ms'))
local lets_finish = on_cancel ~= 'refund' and on_cancel ~= 'honour'
  and (kind == 'team' or kind == 'crowd') and now_ms >= tonumber(starts_ms)
if before == 'cancelled' then
  state = before
elseif state == 'cancelled' and lets_finish then
  state = before == 'open' and 'finishing' or before -- what was closed before does not open again
end
emit('offer.closed', 'offer_id', offer_id, 'command_id', command_id, 'state', state)
redis.call('SET', did, 'offer.closed', 'PX', did_keep_ms)
redis.call('HSET', offers .. offer_id, 'state', state)
return { 'closed' }
