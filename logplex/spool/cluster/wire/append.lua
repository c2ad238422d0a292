-- Number, keep and publish one node's batch: the messages of many channels in one call.
--
-- ARGV: node, its start, the batch's number, prefix of the live channels, how many messages are
-- kept, for how many seconds, a number that raised sequences begin above; then one for every
-- channel: a msgpack array of its id, flags, fingerprint, messages (raw strings), and how many were dropped
-- before the first of them.
--
-- Gives a msgpack array of two arrays of places in the call (from 1): the channels that somebody
-- listens to, and those whose list refused the messages. Gives nil where the shard has taken the
-- batch before: then nothing is written.

local KEEP, FORGET, RAISE = 1, 2, 4
-- Lua's stack holds no more arguments of one call.
local MOST_VALUES = 5000
-- So many starts of one node are remembered: one alive, and some that may still have calls
-- under way.
local MOST_STARTS = 8

local node, start, number, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, retention, raised = tonumber(ARGV[5]), tonumber(ARGV[6]), tonumber(ARGV[7])
local origin = number .. ' ' .. start .. ' ' .. node
-- Sequences outlive their lists, so that numbers never begin again below those in a list.
local lifetime = 2 * retention
-- Lists are cut when they are a tenth too long, and given their time again when it is a minute
-- too short, or a tenth where that is less: not at every call.
local too_long = limit + math.ceil(limit / 10)
local function too_short(key, seconds)
    return redis.call('TTL', key) < seconds - math.min(60, seconds / 10)
end

-- Numbers have 16 digits; Lua's own conversion keeps 14.
local function decimal(value)
    return string.format('%.0f', value)
end

local now
local function microseconds()
    if not now then
        local time = redis.call('TIME')
        now = tonumber(time[1]) * 1000000 + tonumber(time[2])
    end
    return now
end

local batches = 'logplex:batches:' .. node
local last_number = redis.call('HGET', batches, start)
if last_number and tonumber(number) <= tonumber(last_number) then
    return nil
end
-- Nobody listens to this; where we may not publish it fails here and nothing has happened.
redis.call('PUBLISH', prefix, '')
-- The first write: where the shard may not write now, it is the same.
if redis.call('HSET', batches, start, number) == 1 then
    local starts = redis.call('HKEYS', batches)
    table.sort(starts)
    for i = 1, #starts - MOST_STARTS do
        redis.call('HDEL', batches, starts[i])
    end
end
redis.call('EXPIRE', batches, lifetime)

-- Below this a sequence is missing (0), or from before the shard's last restart.
local floor = math.max(1, tonumber(redis.call('HGET', 'logplex:shard', 'floor') or 0))

-- Gives the number of the last of `count` messages, and what it was before them (0: none).
local function advance(key, count, least)
    local last, before = redis.pcall('INCRBY', key, count), 0
    if type(last) == 'number' then
        before = last - count
        if before >= least then
            return last, before
        end
    end
    last = math.max(microseconds(), least) + count
    redis.call('SET', key, decimal(last), 'EX', lifetime)
    return last, before
end

-- LPUSH the newest `limit` values at most; gives the list's length, or an error's table.
local function push(key, values)
    local count = #values
    local length
    for from = math.max(1, count - limit + 1), count, MOST_VALUES do
        length = redis.pcall('LPUSH', key,
            unpack(values, from, math.min(count, from + MOST_VALUES - 1)))
        if type(length) ~= 'number' then
            break
        end
    end
    return length
end

local listened, refused = {}, {}

for at = 8, #ARGV do
    local channel, flags, fingerprint, values, lost = unpack(cmsgpack.unpack(ARGV[at]))
    local sequence, list, ranges = 'seq:' .. channel, 'ch:' .. channel .. ':spool', 'num:' .. channel

    if bit.band(flags, FORGET) ~= 0 then
        -- The sequence stays, so that numbers go on where the channel is made again.
        redis.call('DEL', list, ranges)
    end
    local count = #values
    if count > 0 then
        local least = bit.band(flags, RAISE) ~= 0 and math.max(floor, raised) or floor
        local last, before = advance(sequence, lost + count, least)
        if lost > 0 then
            -- What the node had no room for takes its numbers, so that it is seen to be missing.
            before = last - count
        end

        if bit.band(flags, KEEP) ~= 0 then
            local length = push(list, values)
            if type(length) == 'number' then
                local record = decimal(last) .. ' ' .. decimal(before) .. ' ' .. fingerprint
                    .. ' ' .. origin
                local records = redis.pcall('LPUSH', ranges, record)
                if type(records) ~= 'number' then
                    redis.call('DEL', ranges)
                    records = redis.call('LPUSH', ranges, record)
                end
                if length > too_long then
                    redis.call('LTRIM', list, 0, limit - 1)
                end
                if length > too_long or records > too_long then
                    redis.call('LTRIM', ranges, 0, limit - 1)
                    local oldest = redis.call('RPOP', ranges)
                    while oldest and tonumber(string.match(oldest, '^%d+')) <= last - limit do
                        oldest = redis.call('RPOP', ranges)
                    end
                    if oldest then
                        redis.call('RPUSH', ranges, oldest)
                    end
                end
                -- Somebody else may have begun the list, and given it its time.
                if records == 1 or too_short(list, retention) then
                    redis.call('EXPIRE', list, retention)
                    redis.call('EXPIRE', ranges, retention)
                    redis.call('EXPIRE', sequence, lifetime)
                end
            else
                refused[#refused + 1] = at - 7
            end
        end
        if bit.band(flags, KEEP) == 0 and too_short(sequence, lifetime) then
            redis.call('EXPIRE', sequence, lifetime)
        end
        local receivers = redis.call('PUBLISH', prefix .. channel,
            decimal(last - count + 1) .. ' ' .. decimal(before) .. ' ' .. origin .. '\n' .. ARGV[at])
        if receivers > 0 then
            listened[#listened + 1] = at - 7
        end
    end
end

return cmsgpack.pack({listened, refused})
