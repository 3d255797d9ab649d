#!lua
-- Make a room's log if it is missing: a new epoch at offset 0 with the given parts, which are the
-- snapshot that every epoch begins with. A log that is there is left alone.
-- @key log stream
-- @key log_meta hash
-- @key log_parts hash
-- @key log_comments list the last comments
-- @arg epoch str
-- @arg parts str JSON {part: text}
-- @arg floor str the newest command that the parts contain; older ones are ignored from now on
-- @include room_head
-- @returns opened|there epoch offset
local m = redis.call('HMGET', log_meta, 'epoch', 'offset')
if m[1] then return { 'there', m[1], m[2] } end
local given = cjson.decode(parts)
begin(epoch)
redis.call('HSET', log_meta, 'floor', floor)
for part, text in pairs(given) do redis.call('HSET', log_parts, part, text) end
return { 'opened', epoch, '0' }
