#!lua
-- Append a batch of events to a topic's log, all or none, each cause once:
-- - of a shard: what lies at or below the log's mark is left out, then the mark moves to the
--   batch's end, so that a killed broadcaster repeats in silence;
-- - of a command: once per id, and never behind a newer command of the same part.
-- @key log stream
-- @key log_meta hash
-- @key log_parts hash
-- @key log_comments list the last comments
-- @key did string this command is in the log
-- @arg shard str '' for none
-- @arg mark_epoch int
-- @arg mark_seq int
-- @arg command_id str '' for none
-- @arg fresh_epoch str begin a missing log under this epoch; '': answer no_log
-- @arg log_max int entries kept; 0: whoever archives trims
-- @arg parts_max int a log with more parts begins anew; 0: any number
-- @arg keep_ms int the log expires so long after its last event; 0: never
-- @arg did_keep_ms int
-- @arg events str JSON [[origin, part, event, seq, was?], …]
-- @include room_head
-- @returns published epoch first last | ignored epoch offset | no_log
local m = redis.call('HMGET', log_meta, 'epoch', 'mark:' .. shard, 'floor')
local epoch = m[1]
if not epoch and fresh_epoch == '' then return { 'no_log' } end

local marked = 0 -- events of this epoch up to here are in the log
if shard ~= '' and m[2] then
  local at_epoch, at_seq = string.match(m[2], '^(%d+):(%d+)$')
  at_epoch, at_seq = tonumber(at_epoch), tonumber(at_seq)
  if at_epoch > mark_epoch or (at_epoch == mark_epoch and at_seq >= mark_seq) then
    return { 'ignored', epoch, string.format('%.0f', head) }
  end
  if at_epoch == mark_epoch then marked = at_seq end
end
if command_id ~= '' and epoch then
  if redis.call('EXISTS', did) == 1 or command_id <= (m[3] or '') then
    return { 'ignored', epoch, string.format('%.0f', head) }
  end
end

local wanted = {}
for _, one in ipairs(cjson.decode(events)) do
  local part, was = one[2], one[5]
  local fits = one[4] == 0 or one[4] > marked
  if was then fits = fits and (redis.call('HGET', log_parts, part) or '') == was end
  if command_id ~= '' and part ~= '' then
    local newest = redis.call('HGET', log_meta, 'command:' .. part)
    fits = fits and not (newest and command_id < newest)
  end
  if fits then wanted[#wanted + 1] = one end
end

if #wanted > 0 then
  if not epoch or (parts_max > 0 and redis.call('HLEN', log_parts) >= parts_max) then
    begin(fresh_epoch)
    epoch = fresh_epoch
  end
  local before = head
  for _, one in ipairs(wanted) do
    append(one[1], one[2], one[3])
    if command_id ~= '' and one[2] ~= '' then
      redis.call('HSET', log_meta, 'command:' .. one[2], command_id)
    end
  end
  m.first = string.format('%.0f', before + 1)
end
if epoch then
  if shard ~= '' then
    redis.call('HSET', log_meta, 'mark:' .. shard,
      string.format('%.0f:%.0f', mark_epoch, mark_seq))
  end
  if command_id ~= '' and #wanted > 0 then
    redis.call('SET', did, string.format('%.0f', head), 'PX', did_keep_ms)
  end
  if log_max > 0 then redis.call('XTRIM', log, 'MAXLEN', log_max) end
  if keep_ms > 0 then
    for _, key in ipairs({ log, log_meta, log_parts }) do redis.call('PEXPIRE', key, keep_ms) end
  end
end
if not m.first then return { 'ignored', epoch or '', string.format('%.0f', head) } end
return { 'published', epoch, m.first, string.format('%.0f', head) }
