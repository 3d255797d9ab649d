-- What a team's seats make of it. Counts are `held`, `paying`, `paid` and `subsidy`; `seats` says
-- which claim sits for a buyer; `joinable` lists the teams with a free seat by their deadline.
local function seats_of(team_id) return groups .. team_id .. ':seats' end
local function taken(t) return t.held + t.paying + t.paid + t.subsidy end
local function is_open(t) -- new seats are taken; a crowd goes on after its threshold
  return (t.state == 'forming' or t.state == 'reached') and now_ms < tonumber(t.deadline_ms)
end
local function has_seat(t) return t.kind == 'crowd' or taken(t) < tonumber(t.size) end
local function list_team(team_id, t)
  if t.kind ~= 'team' then return end
  if t.state == 'forming' and has_seat(t) then
    redis.call('ZADD', groups .. 'joinable:' .. t.offer_id, t.deadline_ms, team_id)
  else
    redis.call('ZREM', groups .. 'joinable:' .. t.offer_id, team_id)
  end
end
local function count(team_id, t, what, by)
  t[what] = redis.call('HINCRBY', groups .. team_id, what, by)
end
-- open_team makes an empty one; t is what the event says beside the id.
local function open_team(team_id, t)
  emit('team.opened', 'team_id', team_id, 'offer_id', t.offer_id, 'campaign_id', t.campaign_id,
    'version', t.version, 'team_kind', t.kind, 'opener_id', t.opener_id, 'size', t.size,
    'deadline_ms', t.deadline_ms)
  redis.call('HSET', groups .. team_id, 'kind', t.kind, 'state', t.state, 'offer_id', t.offer_id,
    'campaign_id', t.campaign_id, 'version', t.version, 'opener_id', t.opener_id, 'captain_id',
    t.opener_id, 'size', t.size, 'deadline_ms', t.deadline_ms, 'keep_until_ms', t.keep_until_ms,
    'held', 0, 'paying', 0, 'paid', 0, 'subsidy', 0, 'step', 0)
  redis.call('ZADD', groups .. 'deadlines', t.deadline_ms, team_id)
  if t.opener_id ~= '' then
    redis.call('HSET', groups .. 'openers:' .. t.offer_id, t.opener_id, team_id)
  end
end
-- Of a failed team the merchant's seats go back into the offer's budget; `honoured` ones never
-- were in it.
local function end_team(team_id, t, state, why)
  emit(t.kind .. '.' .. state, 'team_id', team_id, 'offer_id', t.offer_id, 'why', why,
    'paid', t.paid, 'subsidy', t.subsidy, 'step', t.step)
  t.state = state
  redis.call('HSET', groups .. team_id, 'state', state)
  local back = tonumber(t.subsidy) - tonumber(t.honoured or '0')
  if state == 'failed' and back > 0 then
    redis.call('HINCRBY', offers .. t.offer_id, 'subsidised', -back)
  end
  redis.call('ZREM', groups .. 'deadlines', team_id)
  list_team(team_id, t)
  local openers = groups .. 'openers:' .. t.offer_id
  if redis.call('HGET', openers, t.opener_id) == team_id then
    redis.call('HDEL', openers, t.opener_id)
  end
  redis.call('PEXPIREAT', groups .. team_id, t.keep_until_ms)
  redis.call('PEXPIREAT', seats_of(team_id), t.keep_until_ms)
end
local function form_if_full(team_id, t)
  if t.kind == 'team' and t.paid + t.subsidy >= tonumber(t.size) then
    end_team(team_id, t, 'formed', 'full')
  else
    list_team(team_id, t)
  end
end
