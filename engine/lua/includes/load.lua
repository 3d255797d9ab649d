-- load(claim_id) reads a claim, team_of(team_id) a team, as tables of strings; nil when there is none.
local function read(key)
  local flat = redis.call('HGETALL', key)
  if #flat == 0 then return nil end
  local found = {}
  for i = 1, #flat, 2 do found[flat[i]] = flat[i + 1] end
  return found
end
local function load(claim_id) return read(claims .. claim_id) end
local function team_of(team_id) -- a buyer may have sent it: no other key below `groups` is read
  if string.sub(team_id, 1, 3) == 'tem' then return read(groups .. team_id) end
end
