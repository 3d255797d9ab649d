#!lua flags=allow-oom
-- Give a claim's units back on a receipt: `closed` or `void` (of the attempt that is paying),
-- `rejected` (the SQL guard said no), or of a held claim `cancelled` (its buyer let it go),
-- `campaign_cancelled` (a seat of a team that ends with its campaign) or `not_new` (by the right of a
-- new customer, who has bought elsewhere meanwhile).
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key limits prefix
-- @key holds prefix
-- @key deadlines zset
-- @key claims prefix
-- @key groups prefix
-- @key answers prefix
-- @key waits prefix
-- @arg epoch str
-- @arg run_id str
-- @arg shard str
-- @arg nonce str
-- @arg claim_id str
-- @arg attempt_id str
-- @arg why str
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @include waiting
-- @include free
-- @returns released (now or before) | held | paying | paid | returned | unknown | reopening
local c = load(claim_id)
if not c then return { 'unknown' } end
local receipt = why == 'closed' or why == 'void'
local fits = (receipt and c.state == 'paying' and c.attempt_id == attempt_id)
  or (why == 'rejected' and (c.state == 'held' or c.state == 'paying'))
  or ((why == 'cancelled' or why == 'campaign_cancelled' or why == 'not_new')
    and c.state == 'held')
if not fits then return { c.state } end
emit('claim.released', 'claim_id', claim_id, 'offer_id', c.offer_id, 'why', why,
  'attempt_id', attempt_id, 'units', c.units)
free(claim_id, c, c.units, why)
return { 'released' }
