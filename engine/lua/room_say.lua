#!lua
-- A member's comment: once per client id, at the member's rate (GCRA), while the room is on.
-- @key log stream
-- @key log_meta hash
-- @key log_parts hash
-- @key log_comments list the last comments
-- @key did string this client id is in the log, and at which offset
-- @key rate string when the member's allowance is whole again, in ms
-- @arg origin str
-- @arg opening str JSON of the comment up to its time
-- @arg words str the rest of it after its id
-- @arg every_ms int
-- @arg burst_max int
-- @arg comments_max int
-- @arg backlog_max int entries that nobody has archived
-- @arg did_keep_ms int
-- @include room_head
-- @returns said|stored offset | too_fast retry_ms | not_live | no_log
local m = redis.call('HMGET', log_meta, 'epoch', 'archived')
if not m[1] then return { 'no_log' } end
local stored = redis.call('GET', did)
if stored then return { 'stored', stored } end
local room = redis.call('HGET', log_parts, 'room')
local state = room and cjson.decode(room).state
if state ~= 'live' and state ~= 'paused' then return { 'not_live' } end
if head - tonumber(m[2] or '0') >= backlog_max then
  return { 'too_fast', string.format('%.0f', every_ms) }
end
local whole_ms = math.max(now_ms, tonumber(redis.call('GET', rate) or '0'))
local over_ms = whole_ms - now_ms - (burst_max - 1) * every_ms
if over_ms > 0 then return { 'too_fast', string.format('%.0f', over_ms) } end

local id = m[1] .. '-' .. string.format('%.0f', head + 1)
local event = opening .. now .. ',"id":"' .. id .. '",' .. words
local offset = append(origin, '', event)
redis.call('LPUSH', log_comments, event)
redis.call('LTRIM', log_comments, 0, comments_max - 1)
redis.call('SET', did, offset, 'PX', did_keep_ms)
redis.call('SET', rate, string.format('%.0f', whole_ms + every_ms), 'PX', burst_max * every_ms)
return { 'said', offset }
