-- SPDX-License-Identifier: Apache-2.0

-- Number, keep and publish one node's batch: the messages of many channels in one call.
--
-- ARGV: node, its start, the batch's number, prefix of the live channels, how many messages are
-- kept, for how many seconds, a number that raised sequences begin above; then a msgpack array with
-- a head for every channel: its id, flags, how many messages (a string), and how many were dropped
-- before the first of them; then for every head a msgpack array of its messages. A channel is in a
-- batch once.
--
-- Gives a msgpack array of two arrays: the places in the call (from 1) of the channels that are
-- followed somewhere, and the keys that held something else than they should and were replaced.
-- Gives nil if the shard has taken the batch before: then nothing is written.
--
-- `seq:<channel>` holds, as decimals with a space between them: the channel's newest number; the
-- number of its newest entry (0: none); how many messages were numbered since then and not kept;
-- when the stream got its time (in microseconds); how many messages the newest stretch of the stream
-- has; and for each stretch, oldest first, the id of its first entry, "+" and how many messages it
-- has (for the newest nothing). Whole stretches are cut off, and never so that fewer messages than
-- are to be kept remain. What is counted are messages, since numbers jump.

local KEEP, FORGET, RAISE = 1, 2, 4
local STATE = '^(%d+) (%d+) (%d+) (%d+) (%d+)(.*)'
-- The starts of one node that are remembered: the present one, and some that may still have a call
-- under way.
local MOST_STARTS = 8
-- The greatest number that a channel can have: above the clock by more than two centuries, and so
-- small that Lua can count on from it. A key that says more was not written by a node.
local MOST = 9e15

local call, pcall = redis.call, redis.pcall
local match, gmatch, format = string.match, string.gmatch, string.format
local node, start, number, prefix = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
local limit, retention, raised = tonumber(ARGV[5]), ARGV[6], tonumber(ARGV[7])
local heads = cmsgpack.unpack(ARGV[8])
local PAYLOADS = 8
local origin = number .. ' ' .. start .. ' ' .. node
-- Sequences outlive their streams, so that numbers never begin again below those in a stream.
local lifetime = format('%.0f', 2 * retention)
local stretch = math.ceil(limit / 10)

local time = call('TIME')
local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
-- Keys are given their time again when it is a minute too short, or a tenth if that is less: not at
-- every call.
local stale = now - math.min(60, retention / 10) * 1000000

-- Numbers have 16 digits; Lua's own conversion keeps 14.
local function decimal(value)
    return format('%.0f', value)
end
local this_time = decimal(now)

local followed, replaced = {}, {}

-- Gives what a hash holds under a name. A key that is something else is deleted.
local function field(key, name)
    local found = pcall('HGET', key, name)
    if type(found) == 'table' then
        call('DEL', key)
        replaced[#replaced + 1] = key
        return false
    end
    return found
end

local batches = 'logplex:batches:' .. node
local last_number = tonumber(field(batches, start) or 0)
if last_number and tonumber(number) <= last_number then
    return nil
end

local sequences, names = {}, {}
for at = 1, #heads do
    sequences[at] = 'seq:' .. heads[at][1]
    names[at] = prefix .. heads[at][1]
end
-- If the node may not use one of these, the script ends here and has done nothing.
-- A key of another type counts as missing here.
local values = call('MGET', unpack(sequences))
local receivers = call('PUBSUB', 'NUMSUB', unpack(names))
-- This reaches no subscriber.
call('PUBLISH', prefix, '')
-- The first write, unless a key was replaced. If the shard cannot write now, the script ends here.
if call('HSET', batches, start, number) == 1 then
    local starts = call('HKEYS', batches)
    table.sort(starts)
    for i = 1, #starts - MOST_STARTS do
        call('HDEL', batches, starts[i])
    end
end
call('EXPIRE', batches, lifetime)

-- Below this a sequence is missing (0), or from before the shard's last restart.
local floor = tonumber(field('logplex:shard', 'floor') or 0) or 0
if not (floor >= 1 and floor <= MOST) then
    floor = 1
end

-- Deletes a key that holds something else than it should.
local function discard(key)
    if call('DEL', key) == 1 then
        replaced[#replaced + 1] = key
    end
end

-- Gives the number of the newest entry of a stream, and the newest that an entry ever had; both 0
-- if there is no stream. A key that is something else is deleted, and so is a stream with ids that
-- are no numbers of ours.
local function newest(stream)
    local found = pcall('XINFO', 'STREAM', stream)
    if found.err then
        if call('TYPE', stream).ok == 'stream' then
            error(found.err, 0)
        end
        discard(stream)
        return '0', 0
    end
    local entry, last = '0', 0
    for at = 1, #found, 2 do
        if found[at] == 'last-generated-id' then
            last = tonumber(match(found[at + 1], '^%d+'))
        elseif found[at] == 'last-entry' and found[at + 1] then
            entry = match(found[at + 1][1], '^%d+')
        end
    end
    if last > MOST then
        discard(stream)
        return '0', 0
    end
    return entry, last
end

-- Gives a channel's newest number as far as it is known, that of its newest entry, and a number that
-- the next sequence must not begin below, if its sequence is missing or has no state.
local function found_state(sequence, value, stream)
    local entry, last = newest(stream)
    local older = value and match(value, '^%d+$')
    if older and tonumber(older) <= MOST then
        return older, entry, 1
    end
    discard(sequence)
    return decimal(last), entry, last + 1
end

-- Adds an entry to a stream that exists. Gives false if there is none, an error's table if there is
-- something else, or if the id is not above those of the stream.
local function add(stream, id, size, messages, entry, gone)
    if gone == '0' then
        return pcall('XADD', stream, 'NOMKSTREAM', id, 'n', size, 'm', messages,
            'b', entry, 'o', origin)
    end
    return pcall('XADD', stream, 'NOMKSTREAM', id, 'n', size, 'm', messages,
        'b', entry, 'o', origin, 'g', gone)
end

-- Gives the stretches after the newest one has become long enough. Cuts off what is too old.
local function trimmed(stream, stretches)
    local total, ids, counts = 0, {}, {}
    for id, count in gmatch(stretches, '(%d+)%+(%d+)') do
        ids[#ids + 1], counts[#counts + 1] = id, tonumber(count)
        total = total + tonumber(count)
    end
    local from = 1
    while counts[from] and total - counts[from] >= limit do
        total = total - counts[from]
        from = from + 1
    end
    if from == 1 then
        return stretches
    elseif not ids[from] then
        return ''
    end
    call('XTRIM', stream, 'MINID', ids[from])
    local left = ''
    for at = from, #ids do
        left = left .. ' ' .. ids[at] .. '+' .. decimal(counts[at])
    end
    return left
end

for at = 1, #heads do
    local head = heads[at]
    local channel, flags, size, lost = head[1], head[2], head[3], head[4]
    local messages, count = ARGV[PAYLOADS + at], tonumber(size)
    local sequence, stream, value = sequences[at], 'log:' .. channel, values[at]
    local least, before, entry, gone, stamp, held, stretches = floor
    if value then
        before, entry, gone, stamp, held, stretches = match(value, STATE)
    end
    if not before or tonumber(before) > MOST then
        before, entry, least = found_state(sequence, value, stream)
        least = math.max(floor, least)
        gone, stamp, held, stretches = '0', '0', '0', ''
    end

    if bit.band(flags, FORGET) ~= 0 then
        -- The sequence stays, so that numbers go on if the channel is made again.
        call('DEL', stream)
        entry, gone, stamp, held, stretches = '0', '0', '0', '0', ''
    end
    local last, text, is_fresh = tonumber(before), before, false
    if count > 0 then
        if bit.band(flags, RAISE) ~= 0 then
            least = math.max(least, raised)
        end
        if last < least then
            last = math.max(now, least)
        end
        last = last + lost + count
        text = decimal(last)
        if lost > 0 then
            -- Dropped messages take numbers, so that readers see that they are missing.
            before = decimal(last - count)
            gone = decimal(gone + lost)
        end
        if bit.band(flags, KEEP) == 0 then
            gone = decimal(gone + count)
        else
            local id = add(stream, text, size, messages, entry, gone)
            if type(id) == 'table' then
                -- A key of another type, or a stream whose ids are above the sequence.
                local its_entry, ahead = newest(stream)
                if ahead > 0 then
                    entry, last = its_entry, ahead + lost + count
                    text = decimal(last)
                    id = add(stream, text, size, messages, entry, gone)
                    if type(id) == 'table' then
                        error(id.err, 0)
                    end
                else
                    id = false
                end
            end
            if not id then
                -- There is no stream. A new one has no time to live yet, even if the state says so.
                local made = {'XADD', stream, text, 'n', size, 'm', messages, 'b', entry, 'o', origin}
                if gone ~= '0' then
                    made[#made + 1], made[#made + 2] = 'g', gone
                end
                call(unpack(made))
                stamp = '0'
            end
            if tonumber(stamp) > stale then
                is_fresh = true
            else
                call('EXPIRE', stream, retention)
                stamp = this_time
            end
            if held == '0' then
                stretches = stretches .. ' ' .. text .. '+'
            end
            held = held + count
            if held >= stretch then
                stretches = trimmed(stream, stretches .. held)
                held = '0'
            end
            entry, gone = text, '0'
        end
    end
    local state = text .. ' ' .. entry .. ' ' .. gone .. ' ' .. stamp .. ' ' .. held .. stretches
    if is_fresh then
        call('SET', sequence, state, 'KEEPTTL')
    elseif text ~= '0' then
        call('SET', sequence, state, 'EX', lifetime)
    end
    if count > 0 and receivers[2 * at] > 0 then
        call('PUBLISH', names[at], text .. ' ' .. before .. ' ' .. origin .. '\n' .. messages)
        followed[#followed + 1] = at
    end
end

return cmsgpack.pack({followed, replaced})
