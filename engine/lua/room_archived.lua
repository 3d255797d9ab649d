#!lua flags=allow-oom
-- What lies at or before `offset` is in the archive: trim the log to its last `log_max` entries,
-- but never what is not archived. A log of another epoch is left alone.
-- @key log stream
-- @key log_meta hash
-- @key log_parts hash
-- @key log_comments list
-- @arg epoch str
-- @arg offset int
-- @arg log_max int
-- @arg keep_ms int forget an ended room's log after this time; 0: never
-- @returns archived | other
local m = redis.call('HMGET', log_meta, 'epoch', 'offset', 'archived')
if m[1] ~= epoch then return { 'other' } end
if offset > tonumber(m[3] or '0') then
  redis.call('HSET', log_meta, 'archived', string.format('%.0f', offset))
end
local first = math.min(offset, tonumber(m[2]) - log_max) + 1
if first > 1 then redis.call('XTRIM', log, 'MINID', string.format('%.0f-0', first)) end
if keep_ms > 0 then
  for _, key in ipairs({ log, log_meta, log_parts, log_comments }) do
    redis.call('PEXPIRE', key, keep_ms, 'NX')
  end
end
return { 'archived' }
