#!lua flags=allow-oom
-- At their deadline teams take no more seats: at most `batch` of them begin to close. A team with
-- held seats is looked at again soon: the sweeper releases these, they end with the team. A full
-- one whose forming was lost with the store is formed here: a rebuild makes it due at once.
-- Teams of a cancelled offer are due at once: the caller names them, `early`, from their rows. Their
-- deadline comes with the closing, behind the time that was given to who is paying.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key offers prefix
-- @key claims prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg batch int
-- @arg again_ms int
-- @arg early str JSON list of team ids
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @include cancelled
-- @returns closing looked_at team_id … (of those that are closing now) | reopening
local due = redis.call('ZRANGE', groups .. 'deadlines', '-inf', now, 'BYSCORE', 'LIMIT', 0, batch)
local looked = {}
for _, team_id in ipairs(due) do looked[team_id] = true end
for _, team_id in ipairs(cjson.decode(early)) do
  local t = not looked[team_id] and team_of(team_id)
  if t and t.state ~= 'formed' and t.state ~= 'failed' and is_cancelled(t) then
    looked[team_id] = true
    due[#due + 1] = team_id
  end
end
local closing = { 'closing', tostring(#due) }
for _, team_id in ipairs(due) do
  local t = team_of(team_id)
  local is_full = t.kind == 'team' and t.paid + t.subsidy >= tonumber(t.size)
  if is_full then
    end_team(team_id, t, 'formed', 'full')
  elseif t.state ~= 'closing' and t.held == '0' then
    local moved = {}
    if now_ms < tonumber(t.deadline_ms) then
      local ends = now_ms
      if t.paying ~= '0' then
        local term = tonumber(redis.call('HGET', offers .. t.offer_id, 'pay_ms'))
        ends = math.min(now_ms + term, tonumber(t.deadline_ms))
      end
      moved = { 'deadline_ms', string.format('%.0f', ends) }
    end
    emit(t.kind .. '.closing', 'team_id', team_id, 'offer_id', t.offer_id, 'paying', t.paying,
      'paid', t.paid, unpack(moved))
    t.state = 'closing'
    redis.call('HSET', groups .. team_id, 'state', 'closing', unpack(moved))
    list_team(team_id, t)
  end
  if t.state == 'closing' then closing[#closing + 1] = team_id end
  if not is_full then redis.call('ZADD', groups .. 'deadlines', now_ms + again_ms, team_id) end
end
return closing
