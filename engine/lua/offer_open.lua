#!lua
-- Put an offer into the hot state with its whole stock available; a crowd's team with it.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg offer_id str
-- @arg command_id str
-- @arg config str JSON of strings: the hash's fields
-- @arg total int
-- @include fence
-- @include emit
-- @include load
-- @include teams
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
if c.kind == 'crowd' then
  open_team(c.crowd_id, { kind = 'crowd', state = 'forming', offer_id = offer_id, campaign_id =
    c.campaign_id, version = c.version, opener_id = '', size = '0', deadline_ms = c.ends_at_ms,
    keep_until_ms = c.keep_until_ms })
end
return { 'opened' }
