#!lua flags=allow-oom
-- Write one bounded batch of rebuilt state: a JSON list of commands such as ["HSET", key, …].
-- @key token string
-- @arg epoch str
-- @arg batch str JSON [[command, key, …], …], all keys of this shard
-- @returns written | refused
if redis.call('GET', token) ~= epoch then return { 'refused' } end
for _, command in ipairs(cjson.decode(batch)) do redis.call(unpack(command)) end
return { 'written' }
