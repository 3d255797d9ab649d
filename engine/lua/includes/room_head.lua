-- begin(epoch) starts a log: a new epoch, nothing in it. append(origin, part, event, comments_max)
-- adds one event with the next offset and replaces its part; `head` counts along and is written
-- by finish(), once for all events of a call.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%.0f', now_ms)
local head = tonumber(redis.call('HGET', log_meta, 'offset') or '0')
local function begin(epoch)
  redis.call('DEL', log, log_parts, log_comments)
  redis.call('HSET', log_meta, 'epoch', epoch, 'offset', '0', 'archived', '0')
  head = 0
end
local function append(origin, part, event)
  local offset = string.format('%.0f', head + 1)
  redis.call('XADD', log, offset .. '-0', 'origin', origin, 'part', part, 'event', event)
  redis.call('HSET', log_meta, 'offset', offset)
  if part ~= '' then redis.call('HSET', log_parts, part, event) end
  head = head + 1
  return offset
end
