#!lua flags=allow-oom
-- Take the rebuild of a shard under `epoch`; refused once a newer one has begun or opened.
-- @key meta hash
-- @key token string
-- @arg epoch int
-- @returns begun | refused
local open = tonumber(redis.call('HGET', meta, 'epoch') or '0')
local begun = tonumber(redis.call('GET', token) or '0')
if open >= epoch or begun > epoch then return { 'refused' } end
redis.call('SET', token, epoch)
return { 'begun' }
