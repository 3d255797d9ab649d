#!lua
-- A held claim becomes paying: off the deadline list, with a term in which to pay. From here its
-- units come free only with a receipt (closed, void, or a refunded wrong payment).
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key deadlines zset
-- @key claims prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg claim_id str
-- @arg attempt_id str
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @returns paying pay_expires_at_ms (also when this attempt began it before; a rebuild that
--   knew of the attempt but not of its event left `unsaid`, and the event is said now)
-- @returns other_attempt attempt_id | paid | released | returned | unknown | reopening
-- @returns team_over state (its seat is no longer to be paid; the sweeper releases it)
local c = load(claim_id)
if not c then return { 'unknown' } end
if c.state == 'paying' then
  if c.attempt_id ~= attempt_id then return { 'other_attempt', c.attempt_id } end
  if c.unsaid then
    emit('claim.paying', 'claim_id', claim_id, 'offer_id', c.offer_id, 'attempt_id', attempt_id,
      'pay_expires_at_ms', c.pay_expires_at_ms)
    redis.call('HDEL', claims .. claim_id, 'unsaid')
  end
  return { 'paying', c.pay_expires_at_ms }
end
if c.state ~= 'held' then return { c.state } end

local term, selling = unpack(redis.call('HMGET', offers .. c.offer_id, 'pay_ms', 'state'))
local until_ms = now_ms + tonumber(term)
local t = c.team_id and c.seat == '1' and team_of(c.team_id)
if t then -- nobody is told a time to pay that the team has not got
  local on = now_ms < tonumber(t.deadline_ms) and selling ~= 'cancelled'
  local state = on and t.state or 'closing'
  if state ~= 'opening' and state ~= 'forming' and state ~= 'reached' then
    return { 'team_over', state }
  end
  until_ms = math.min(until_ms, tonumber(t.deadline_ms))
end
local expires = string.format('%.0f', until_ms)
emit('claim.paying', 'claim_id', claim_id, 'offer_id', c.offer_id, 'attempt_id', attempt_id,
  'pay_expires_at_ms', expires)
redis.call('ZREM', deadlines, claim_id)
redis.call('HSET', claims .. claim_id, 'state', 'paying', 'attempt_id', attempt_id,
  'pay_expires_at_ms', expires)
if t then
  count(c.team_id, t, 'held', -1)
  count(c.team_id, t, 'paying', 1)
end
return { 'paying', expires }
