#!lua flags=allow-oom
-- A payment fact meets its claim; exactly one of claim.paid, payment.late and payment.refused
-- carries its id. A wrong payment of the open attempt also releases the claim: it is a receipt.
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
-- @key did string marker of the fact's id
-- @arg epoch str
-- @arg run_id str
-- @arg shard str
-- @arg nonce str
-- @arg claim_id str
-- @arg attempt_id str
-- @arg fact_id str
-- @arg verdict str
-- @arg did_keep_ms int
-- @arg wait_scan_max int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include seats
-- @include waiting
-- @include free
-- @include landing
-- @returns paid | retaken | landed how team_id | late why | refused why | done | unknown | reopening
if redis.call('EXISTS', did) == 1 then return { 'done' } end
local c = load(claim_id)
if not c then return { 'unknown' } end
if c.payment_id == fact_id then return { 'done' } end
local o = offers .. c.offer_id
local about = { 'claim_id', claim_id, 'offer_id', c.offer_id, 'fact_id', fact_id,
  'attempt_id', attempt_id }
local function say(kind, ...)
  local fields = { unpack(about) }
  for _, value in ipairs({ ... }) do fields[#fields + 1] = value end
  emit(kind, unpack(fields))
  redis.call('SET', did, kind, 'PX', did_keep_ms)
end
local function let_go(why)
  emit('claim.released', 'claim_id', claim_id, 'offer_id', c.offer_id, 'why', why,
    'attempt_id', attempt_id, 'units', c.units)
  free(claim_id, c, c.units, why)
end

if verdict ~= 'ok' then
  say('payment.refused', 'why', verdict)
  if c.state == 'paying' and c.attempt_id == attempt_id then let_go(verdict) end
  return { 'refused', verdict }
end
local live = c.state == 'held' or c.state == 'paying'
if not live and c.state ~= 'released' then
  say('payment.refused', 'why', 'second_payment')
  return { 'refused', 'second_payment' }
end

-- Late: the units, or the seat in its team, came free before this payment arrived. The offer's
-- declared landing decides. A seat may have been lost while its units were kept.
local late = not live or (c.team_id and c.seat ~= '1')
local why, landed, team_id, t = nil, '', c.team_id or '', nil
if late then
  why, landed, team_id, t = land(c, live)
  if why then
    say('payment.late', 'why', why)
    if live then let_go('late') end
    return { 'late', why }
  end
elseif c.team_id then
  t = team_of(c.team_id)
end

local units = tonumber(c.units)
if landed == 'new' then open_team(team_id, t) end
if c.team_id then
  say('claim.paid', 'units', c.units, 'retaken', live and '0' or '1', 'team_id', team_id,
    'landed', landed)
else
  say('claim.paid', 'units', c.units, 'retaken', live and '0' or '1')
end
if live then
  redis.call('HINCRBY', o, 'held', -units)
  redis.call('HDEL', holds .. c.offer_id, claim_id)
  redis.call('ZREM', deadlines, claim_id)
else
  redis.call('HINCRBY', o, 'available', -units)
  redis.call('HINCRBY', limits .. c.offer_id, c.buyer_id, units)
  redis.call('HINCRBY', limits .. c.campaign_id, c.buyer_id, units)
  if not c.team_id then take_right(claim_id, c) end
end
redis.call('HINCRBY', o, 'sold', units)
redis.call('HSET', claims .. claim_id, 'state', 'paid', 'payment_id', fact_id)
redis.call('PERSIST', claims .. claim_id)
if t then
  redis.call('HSET', claims .. claim_id, 'paid_at_ms', now)
  if landed == 'new' then t = team_of(team_id) end
  if landed ~= '' then take_seat(team_id, t, claim_id, c, 'paid')
  else
    count(team_id, t, c.state, -1)
    count(team_id, t, 'paid', 1)
  end
  seat_paid(team_id, t, claim_id, c)
end
if landed ~= '' then return { 'landed', landed, team_id } end
return { live and 'paid' or 'retaken' }
