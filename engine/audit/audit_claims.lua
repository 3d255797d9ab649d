#!lua flags=no-writes
-- A page of claims, each as it stands in its hash, its offer's hold records and the deadlines.
-- @key deadlines zset
-- @key holds prefix
-- @key claims prefix
-- @arg ids str pairs `offer_id claim_id`, all with a blank between; `-` for an unknown offer
-- @returns [state units expires_at_ms hold_units deadline offer_id] for each, '' for what is absent
local found = {}
for offer_id, claim_id in string.gmatch(ids, '(%S+) (%S+)') do
  local c = redis.call('HMGET', claims .. claim_id, 'state', 'units', 'expires_at_ms', 'offer_id')
  local offer = c[4] or offer_id
  found[#found + 1] = { c[1] or '', c[2] or '', c[3] or '',
    redis.call('HGET', holds .. offer, claim_id) or '',
    redis.call('ZSCORE', deadlines, claim_id) or '', offer }
end
return found
