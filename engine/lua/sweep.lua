#!lua flags=allow-oom
-- Release held claims whose deadline has passed, at most `batch` of them. Claims that are not
-- settled yet are passed over, so that no hold lapses before its order exists.
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
-- @arg batch int
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @include waiting
-- @include free
-- @returns swept released looked_at | reopening
local due = redis.call('ZRANGE', deadlines, '-inf', now, 'BYSCORE', 'LIMIT', 0, batch)
local settled = tonumber(fence[5])
local released = 0
for _, claim_id in ipairs(due) do
  local c = load(claim_id)
  if c and (c.epoch ~= epoch or tonumber(c.seq) <= settled) then
    emit('claim.released', 'claim_id', claim_id, 'offer_id', c.offer_id, 'why', 'lapsed',
      'attempt_id', '', 'units', c.units)
    free(claim_id, c, c.units, 'lapsed')
    released = released + 1
  end
end
return { 'swept', tostring(released), tostring(#due) }
