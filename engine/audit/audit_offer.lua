#!lua flags=no-writes
-- One offer at one instant: its counters, the sum of its hold records, how many wait for it, and
-- where the stream is.
-- The loop is bounded by the offer's stock. Claims in `aside` (they have dead letters) are also
-- summed apart, since PostgreSQL cannot know what became of them.
-- @key meta hash
-- @key offer hash
-- @key holds hash claim_id to units
-- @key claims prefix
-- @key list zset who waits
-- @key entries hash what they asked for
-- @arg offer_id str
-- @arg aside str claim ids with a blank between
-- @returns epoch seq total available held sold holds hold_units aside_held aside_sold
-- @returns (then) waiting listed entries
local m = redis.call('HMGET', meta, 'epoch', 'seq')
local o = redis.call('HMGET', offer, 'total', 'available', 'held', 'sold', 'waiting')
local records = redis.call('HVALS', holds)
local sum = 0
for _, units in ipairs(records) do sum = sum + (tonumber(units) or 0) end
local apart = { held = 0, paying = 0, paid = 0 }
for claim_id in string.gmatch(aside, '%S+') do
  local c = redis.call('HMGET', claims .. claim_id, 'state', 'units', 'offer_id')
  if c[3] == offer_id and apart[c[1]] then apart[c[1]] = apart[c[1]] + (tonumber(c[2]) or 0) end
end
local function text(number) return string.format('%.0f', number) end
return { m[1] or '', m[2] or '', o[1] or '', o[2] or '', o[3] or '', o[4] or '',
  text(#records), text(sum), text(apart.held + apart.paying), text(apart.paid),
  o[5] or '0', text(redis.call('ZCARD', list)), text(redis.call('HLEN', entries)) }
