#!lua flags=no-writes
-- One team at one instant: its counters, and what its seats are by their claims' own states.
-- A crowd's claims are only counted: there may be thousands.
-- @key team hash
-- @key seats hash buyer to claim
-- @key claims prefix
-- @arg team_id str
-- @returns kind state offer_id opener_id size deadline_ms held paying paid subsidy step
-- @returns (then) seats seen_held seen_paying seen_paid astray (a claim that is not of this seat)
local t = redis.call('HMGET', team, 'kind', 'state', 'offer_id', 'opener_id', 'size',
  'deadline_ms', 'held', 'paying', 'paid', 'subsidy', 'step')
local reply = {}
for i = 1, 11 do reply[i] = t[i] or '' end
local seen = { held = 0, paying = 0, paid = 0 }
local astray = ''
local count = redis.call('HLEN', seats)
if t[1] == 'team' and count <= 10 then
  local flat = redis.call('HGETALL', seats)
  for i = 1, #flat, 2 do
    local c = redis.call('HMGET', claims .. flat[i + 1], 'state', 'team_id', 'seat', 'buyer_id')
    if c[1] and seen[c[1]] then seen[c[1]] = seen[c[1]] + 1 end
    if c[2] ~= team_id or c[3] ~= '1' or c[4] ~= flat[i] then astray = flat[i + 1] end
  end
end
for _, one in ipairs({ count, seen.held, seen.paying, seen.paid }) do
  reply[#reply + 1] = string.format('%.0f', one)
end
reply[#reply + 1] = astray
return reply
