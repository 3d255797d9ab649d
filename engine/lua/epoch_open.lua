#!lua flags=allow-oom
-- Write meta last: this opens the shard under its new epoch, on this life of the server.
-- @key meta hash
-- @key token string
-- @arg epoch str
-- @arg run_id str
-- @returns opened | refused
if redis.call('GET', token) ~= epoch then return { 'refused' } end
redis.call('HSET', meta, 'epoch', epoch, 'run_id', run_id, 'seq', '0', 'settled_seq', '0',
  'waits_since_ms', '0', 'sealed', '')
redis.call('DEL', token)
return { 'opened' }
