-- Answers a remembered call, or takes tokens: all or none.
-- KEYS: bucket [, copy]
-- ARGV: parts, per_second (0 = no limit), burst, now in microseconds ('' = Redis's own), what the copy must begin with
-- Returns the message's id, which ends the copy; else 0 = passed, or how many microseconds to wait.
if KEYS[2] then
    local copy = redis.call('GET', KEYS[2])
    if copy and #copy == #ARGV[5] + 16 and string.sub(copy, 1, #ARGV[5]) == ARGV[5] then
        return string.sub(copy, #ARGV[5] + 1)
    end
end

local parts, per_second, burst = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
if per_second == 0 then
    return 0
end
local now = tonumber(ARGV[4])
if not now then
    local time = redis.call('TIME')
    now = time[1] * 1000000 + time[2]
end

-- A bucket that is not there is full. A clock that goes back gains nothing.
local tokens = burst
local old = redis.call('HMGET', KEYS[1], 'tokens', 'at', 'per_second', 'burst')
if old[1] then
    local gained = math.max(0, now - old[2]) / 1000000 * old[3]
    tokens = math.min(old[1] + gained, tonumber(old[4]), burst)
end

-- A message larger than the bucket passes when the bucket is full, and leaves a debt.
local needed = math.min(parts, burst)
local wait = 0
if tokens >= needed then
    tokens = tokens - parts
else
    wait = math.ceil((needed - tokens) / per_second * 1000000)
end

redis.call('HSET', KEYS[1], 'tokens', string.format('%.17g', tokens), 'at', string.format('%.0f', now),
    'per_second', per_second, 'burst', burst)
-- The time to fill up, and a minute: then a bucket that is not there is the same.
redis.call('PEXPIRE', KEYS[1], math.ceil((burst - tokens) / per_second * 1000) + 60000)
return wait
