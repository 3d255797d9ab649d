-- emit(kind, field, value, …) appends one event with the next seq and returns the seq.
-- It comes before the state's writes: should XADD fail, nothing but the seq has moved, and the
-- settler sees the gap.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%.0f', now_ms)
local function emit(kind, ...)
  local seq = string.format('%.0f', redis.call('HINCRBY', meta, 'seq', 1))
  redis.call('XADD', events, seq .. '-0', 'kind', kind, 'at_ms', now, ...)
  return seq
end
