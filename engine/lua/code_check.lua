#!lua
-- Check a sign-in code: right once, and only within its tries. Guesses that run at the same time
-- are counted one by one here, so none of them is free. A missing code looks like a wrong one.
-- @key code hash digest tries, with a time to live
-- @arg digest str
-- @arg tries_max int
-- @returns right | wrong
if redis.call('EXISTS', code) == 0 then return 'wrong' end
if redis.call('HINCRBY', code, 'tries', 1) > tries_max then return 'wrong' end
if redis.call('HGET', code, 'digest') ~= digest then return 'wrong' end
redis.call('DEL', code)
return 'right'
