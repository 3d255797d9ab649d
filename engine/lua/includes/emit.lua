-- emit(kind, field, value, …) appends one event with the next seq and returns the seq.
-- It comes before the state's writes: should XADD fail, nothing has changed. The first event
-- behind a settled shard leaves its time in meta, so that claim need not look into the stream.
local time = redis.call('TIME')
local now_ms = time[1] * 1000 + math.floor(time[2] / 1000)
local now = string.format('%.0f', now_ms)
local last_seq = tonumber(fence[4])
local all_settled = fence[4] == fence[5]
local function emit(kind, ...)
  local seq = string.format('%.0f', last_seq + 1)
  redis.call('XADD', events, seq .. '-0', 'kind', kind, 'at_ms', now, ...)
  if all_settled then
    redis.call('HSET', meta, 'seq', seq, 'waits_since_ms', now)
    all_settled = false
  else
    redis.call('HSET', meta, 'seq', seq)
  end
  last_seq = last_seq + 1
  return seq
end
