#!lua flags=no-writes
-- What a topic's log has behind an offset of this epoch; of another epoch only where it stands.
-- @key log stream
-- @key log_meta hash
-- @arg epoch str
-- @arg after str
-- @arg count int
-- @returns log epoch offset [[id, [field, value …]] …] | no_log
local m = redis.call('HMGET', log_meta, 'epoch', 'offset')
if not m[1] then return { 'no_log' } end
if m[1] ~= epoch then return { 'log', m[1], m[2], {} } end
return { 'log', m[1], m[2], redis.call('XRANGE', log, '(' .. after .. '-0', '+', 'COUNT', count) }
