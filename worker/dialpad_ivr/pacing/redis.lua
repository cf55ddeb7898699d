-- Reserve one call of a company in the window that the fleet shares, if there is room for it.
-- One atomic step for Redis; all times are microseconds of Redis's own clock.
--
-- KEYS   calls, patches (sorted sets: member = a call, score = when it arrives), state (hash)
-- ARGV   member, write (1 or 0), waited, average delay, assumed delay, pause, hold, age of the worker's last success, jitter,
--        company: calls, window, patch: calls, window, slots to catch up, time to live in ms,
--        circuit: lease, shortest wait, first and longest back-off, growth
-- returns {wait, why, now, cause, age}: with a wait of 0 the call may be sent; why is "", "pause", "new", "unknown",
--         "open" or, with a wait of 0, "probe"; cause and age of the outage with the last two only
local calls, patches, state = KEYS[1], KEYS[2], KEYS[3]
local member, write = ARGV[1], ARGV[2] == '1'
local waited, average, assumed = tonumber(ARGV[3]), tonumber(ARGV[4]), tonumber(ARGV[5])
local pause, hold = tonumber(ARGV[6]), tonumber(ARGV[7])
local catch_up, ttl = tonumber(ARGV[14]), ARGV[15]
local windows = {{calls, tonumber(ARGV[10]), tonumber(ARGV[11]), 'calls_slot'}}
if write then
  windows[2] = {patches, tonumber(ARGV[12]), tonumber(ARGV[13]), 'patches_slot'}
end

local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local run = string.match(redis.call('INFO', 'server'), 'run_id:(%w+)')
local known = redis.call('HMGET', state, 'run', 'since', 'seen', 'paused', 'good', 'probe_at', 'lease')

-- Previous calls are unknown if the window is new, was flushed, restored from a snapshot or evicted, or if the clock went
-- back (less than a second is harmless: calls count for that much longer). Each set has a marker, so that losing one set
-- is noticed too.
local complete = known[1] == run and known[3] and tonumber(known[3]) < now + 1000000
  and redis.call('ZSCORE', calls, 'marker') and redis.call('ZSCORE', patches, 'marker')
if not complete then
  redis.call('DEL', calls, patches, state)
  redis.call('ZADD', calls, '+inf', 'marker')
  redis.call('ZADD', patches, '+inf', 'marker')
  redis.call('HSET', state, 'run', run, 'since', now + hold)
  known = {run, now + hold, now, nil}
end
local paused = math.max(tonumber(known[4] or 0), now + pause)
local good = math.max(tonumber(known[5] or 0), now - ARGV[8])
redis.call('HSET', state, 'seen', now, 'paused', paused, 'good', good)
for _, key in ipairs(KEYS) do
  redis.call('PEXPIRE', key, ttl)
end
if paused > now then
  return {math.ceil(paused - now), 'pause', now}
end
if tonumber(known[2]) > now then
  return {math.ceil(known[2] - now), complete and 'unknown' or 'new', now}
end

-- While the circuit is open, one probe at a time is sent (see circuit.lua).
local probe_at = tonumber(known[6])
local circuit = probe_at and redis.call('HMGET', state, 'cause', 'opened', 'backoff')
local lease = probe_at and tonumber(known[7])
if probe_at and math.max(probe_at, lease) > now then
  local wait = math.max(probe_at - now, ARGV[17])
  if lease > now then
    wait = math.min(wait, math.max(now - (lease - ARGV[16]), ARGV[17]))
  end
  return {math.ceil(wait), 'open', now, circuit[1], now - circuit[2]}
end

-- Slots spread the calls evenly over all workers.
local wait = 0
for _, window in ipairs(windows) do
  window[5] = math.max(tonumber(redis.call('HGET', state, window[4]) or 0), now - waited)
  wait = math.max(wait, window[5] - now)
end
if wait > 0 then
  return {math.ceil(wait), '', now}
end
for _, window in ipairs(windows) do
  local key, limit, length = unpack(window)
  redis.call('ZREMRANGEBYSCORE', key, '-inf', now - length)
  local count = redis.call('ZCARD', key) - 1 -- the marker
  if count >= limit then
    local leaves = redis.call('ZRANGE', key, count - limit, count - limit, 'WITHSCORES')
    wait = math.max(wait, leaves[2] + length - now)
  end
end
if wait > 0 then
  return {math.ceil(wait), '', now}
end

for _, window in ipairs(windows) do
  local key, limit, length, slot = unpack(window)
  local interval = (length + average) / limit
  redis.call('ZADD', key, now + assumed, member)
  redis.call('HSET', state, slot, math.max(window[5], now - catch_up * interval) + interval)
end
if probe_at then
  local backoff = math.min(math.max(circuit[3] * ARGV[20], ARGV[18]), ARGV[19])
  probe_at = now + backoff * ARGV[9]
  redis.call('HSET', state, 'prober', member, 'lease', now + ARGV[16], 'probe_at', probe_at, 'backoff', backoff)
  return {0, 'probe', now, circuit[1], now - circuit[2]}
end
return {0, '', now}
