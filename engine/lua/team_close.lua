#!lua flags=allow-oom
-- At their deadline teams take no more seats: at most `batch` of them begin to close. A team with
-- held seats is looked at again soon: the sweeper releases these, they end with the team. A full
-- one whose forming was lost with the store is formed here: a rebuild makes it due at once.
-- @key meta hash the shard's fence
-- @key events stream of the caller's epoch
-- @key claims prefix
-- @key groups prefix
-- @arg epoch str
-- @arg run_id str
-- @arg batch int
-- @arg again_ms int
-- @include fence
-- @include emit
-- @include load
-- @include teams
-- @returns closing looked_at team_id … (of those that are closing now) | reopening
local due = redis.call('ZRANGE', groups .. 'deadlines', '-inf', now, 'BYSCORE', 'LIMIT', 0, batch)
local closing = { 'closing', tostring(#due) }
for _, team_id in ipairs(due) do
  local t = team_of(team_id)
  local is_full = t.kind == 'team' and t.paid + t.subsidy >= tonumber(t.size)
  if is_full then
    end_team(team_id, t, 'formed', 'full')
  elseif t.state ~= 'closing' and t.held == '0' then
    emit(t.kind .. '.closing', 'team_id', team_id, 'offer_id', t.offer_id, 'paying', t.paying,
      'paid', t.paid)
    t.state = 'closing'
    redis.call('HSET', groups .. team_id, 'state', 'closing')
    list_team(team_id, t)
  end
  if t.state == 'closing' then closing[#closing + 1] = team_id end
  if not is_full then redis.call('ZADD', groups .. 'deadlines', now_ms + again_ms, team_id) end
end
return closing
