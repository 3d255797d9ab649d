#!lua flags=no-writes
-- The whole state of a topic at one offset.
-- @key log_meta hash
-- @key log_parts hash
-- @key log_comments list the last comments, newest first
-- @returns snapshot epoch offset [part text …] [comment …] | no_log
local m = redis.call('HMGET', log_meta, 'epoch', 'offset')
if not m[1] then return { 'no_log' } end
return { 'snapshot', m[1], m[2], redis.call('HGETALL', log_parts),
  redis.call('LRANGE', log_comments, 0, -1) }
