-- Refuse callers of another epoch, of another life of this server, or while the shard is sealed.
local fence = redis.call('HMGET', meta, 'epoch', 'run_id', 'sealed', 'seq', 'settled_seq',
  'waits_since_ms')
if fence[1] ~= epoch or fence[2] ~= run_id or fence[3] ~= '' then
  return { 'reopening' }
end
