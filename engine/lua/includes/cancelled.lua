-- Whether a team's offer was cancelled so that its open teams end at once; `finishing` ones go on.
local function is_cancelled(t)
  return redis.call('HGET', offers .. t.offer_id, 'state') == 'cancelled'
end
-- Cancelled with the promise that who has paid gets what was bought: the merchant fills the rest.
local function is_honoured(t)
  return t.kind == 'team' and tonumber(t.paid) > 0 and is_cancelled(t)
    and redis.call('HGET', offers .. t.offer_id, 'on_cancel') == 'honour'
end
