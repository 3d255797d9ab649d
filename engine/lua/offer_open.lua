#!lua
-- Put an offer into the hot state with its whole stock available.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg command_id str
-- @arg config str JSON of strings: the hash's fields
-- @arg total int
-- @include fence
-- @include emit
-- @returns opened | done | reopening
if redis.call('EXISTS', offers .. offer_id) == 1 then return { 'done' } end
local c = cjson.decode(config)
emit('offer.opened', 'offer_id', offer_id, 'command_id', command_id, 'total', total)
local flat = {}
for field, value in pairs(c) do
  flat[#flat + 1] = field
  flat[#flat + 1] = value
end
redis.call('HSET', offers .. offer_id, 'state', 'open', 'total', total, 'available', total,
  'held', 0, 'sold', 0, 'rev', 0, unpack(flat))
return { 'opened' }
