#!lua
-- Count a try against a limit per window: guesses that run at the same time are counted one by one
-- here, so none of them is free. A right one is given back with step -1.
-- @key tries string
-- @arg step int
-- @arg tries_max int
-- @arg window_ms int
-- @returns go 0 | wait ms_left
local done = tonumber(redis.call('GET', tries) or '0')
if step < 0 then
  if done > 0 then redis.call('DECR', tries) end
  return {'go', 0}
end
if done >= tries_max then return {'wait', math.max(redis.call('PTTL', tries), 1)} end
if redis.call('INCR', tries) == 1 then redis.call('PEXPIRE', tries, window_ms) end
return {'go', 0}
