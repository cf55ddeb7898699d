-- Record a failure in the circuit that the fleet shares; `dialpad_ivr.pacing.circuit` has the rules.
-- One atomic step for Redis; all times are microseconds of Redis's own clock.
--
-- KEYS   state (hash)
-- ARGV   member, target, whether it is evidence (1 or 0), cause, retry after (0 without one), age of this worker's last
--        success, targets that open it, shortest wait, first back-off, time to live in ms
-- returns {} or, if it is an outage's, {wait, cause, age, opened (1 or 0), suspected (1 or 0)}
local state = KEYS[1]
local member, cause = ARGV[1], ARGV[4]
local evidence, other = '\n+' .. ARGV[2] .. '\n', '\n-' .. ARGV[2] .. '\n'
local retry_after, age, targets = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local shortest, first, ttl = tonumber(ARGV[8]), tonumber(ARGV[9]), ARGV[10]

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local known = redis.call('HMGET', state, 'probe_at', 'opened', 'prober', 'good', 'failed', 'failed_at')
local probe_at, opened = tonumber(known[1]), tonumber(known[2])
local opens = not probe_at

if opens then
  local good = math.max(tonumber(known[4] or 0), now - age)
  local failed = good > tonumber(known[6] or 0) and '' or known[5] or ''
  local seen = string.find(failed, evidence, 1, true) or string.find(failed, other, 1, true)
  local suspected = string.find(failed, '\n+', 1, true) and not seen
  local entry = ARGV[3] == '1' and evidence or other
  if not string.find(failed, entry, 1, true) then
    failed = failed .. entry
  end
  local _, count = string.gsub(failed, '\n%+', '')
  if retry_after == 0 and count < targets then
    redis.call('HSET', state, 'failed', failed, 'failed_at', now)
    redis.call('PEXPIRE', state, ttl)
    return suspected and {shortest, cause, 0, 0, 1} or {}
  end
  probe_at, opened = now + (retry_after > 0 and retry_after or first), now
  redis.call('HDEL', state, 'failed', 'failed_at', 'prober')
  redis.call('HSET', state, 'opened', opened, 'probe_at', probe_at, 'backoff', first, 'lease', now)
elseif known[3] == member then
  if retry_after > 0 then
    probe_at = now + retry_after
  end
  redis.call('HSET', state, 'probe_at', probe_at, 'lease', now)
end
redis.call('HSET', state, 'cause', cause)
redis.call('PEXPIRE', state, ttl)
return {math.ceil(math.max(probe_at - now, shortest)), cause, now - opened, opens and 1 or 0, 0}
