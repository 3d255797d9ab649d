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
-- @key did string marker of the fact's id
-- @arg epoch str
-- @arg run_id str
-- @arg claim_id str
-- @arg attempt_id str
-- @arg fact_id str
-- @arg verdict str
-- @arg did_keep_ms int
-- @include fence
-- @include emit
-- @include load
-- @include free
-- @returns paid | retaken | late why | refused why | done | unknown | reopening
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

if verdict ~= 'ok' then
  say('payment.refused', 'why', verdict)
  if c.state == 'paying' and c.attempt_id == attempt_id then
    emit('claim.released', 'claim_id', claim_id, 'offer_id', c.offer_id, 'why', verdict,
      'attempt_id', attempt_id, 'units', c.units)
    free(claim_id, c, c.units)
  end
  return { 'refused', verdict }
end
if c.state == 'held' or c.state == 'paying' then
  say('claim.paid', 'units', c.units, 'retaken', '0')
  redis.call('HINCRBY', o, 'held', -c.units)
  redis.call('HINCRBY', o, 'sold', c.units)
  redis.call('HDEL', holds .. c.offer_id, claim_id)
  redis.call('ZREM', deadlines, claim_id)
  redis.call('HSET', claims .. claim_id, 'state', 'paid', 'payment_id', fact_id)
  return { 'paid' }
end
if c.state ~= 'released' then
  say('payment.refused', 'why', 'second_payment')
  return { 'refused', 'second_payment' }
end

-- Late: the units came free before this payment arrived. The offer's declared landing decides.
local f = redis.call('HMGET', o, 'late', 'state', 'ends_at_ms', 'available', 'per_buyer_max',
  'per_campaign_max')
local why = nil
local units = tonumber(c.units)
local mine = tonumber(redis.call('HGET', limits .. c.offer_id, c.buyer_id) or '0')
local all = tonumber(redis.call('HGET', limits .. c.campaign_id, c.buyer_id) or '0')
if f[1] ~= 'retake' then why = 'refund'
elseif f[2] ~= 'open' or now_ms >= tonumber(f[3]) then why = 'closed'
elseif mine + units > tonumber(f[5]) or all + units > tonumber(f[6]) then why = 'limit_reached'
elseif units > tonumber(f[4]) then why = 'sold_out' end
if why then
  say('payment.late', 'why', why)
  return { 'late', why }
end
say('claim.paid', 'units', c.units, 'retaken', '1')
redis.call('HINCRBY', o, 'available', -units)
redis.call('HINCRBY', o, 'sold', units)
redis.call('HINCRBY', limits .. c.offer_id, c.buyer_id, units)
redis.call('HINCRBY', limits .. c.campaign_id, c.buyer_id, units)
redis.call('HSET', claims .. claim_id, 'state', 'paid', 'payment_id', fact_id)
redis.call('PERSIST', claims .. claim_id)
return { 'retaken' }
