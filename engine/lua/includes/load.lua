-- load(claim_id) reads a claim as a table of strings; nil when there is none.
local function load(claim_id)
  local flat = redis.call('HGETALL', claims .. claim_id)
  if #flat == 0 then return nil end
  local c = {}
  for i = 1, #flat, 2 do c[flat[i]] = flat[i + 1] end
  return c
end
