-- The turn of a deferred call of a company: after those that are deferred already, by whichever worker.
-- One atomic step for Redis; all times are microseconds of Redis's own clock.
--
-- KEYS   turns (sorted set: member = a deferred call, score = when it returns)
-- ARGV   member, how long it cannot be sent, interval between two turns, time to live in ms
-- returns {in how long it returns}
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local soonest = now + ARGV[2]
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
local turn = soonest + redis.call('ZCOUNT', KEYS[1], soonest, '+inf') * ARGV[3]
redis.call('ZADD', KEYS[1], turn, ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
return {math.ceil(turn - now)}
