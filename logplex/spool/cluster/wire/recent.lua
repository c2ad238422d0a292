-- What a shard has of a channel, in one atomic step.
--
-- ARGV: channel, how many messages are asked for (0: none), node, its start.
--
-- Gives a msgpack array: the channel's sequence and the number of the last batch taken from this
-- start of the node (decimal strings, '0' where there is none), the kept messages, newest first,
-- and the records of the numbers that were given to them, newest first.

local channel, wanted = ARGV[1], tonumber(ARGV[2])

-- A key that somebody else has filled with something else counts as absent.
local function read(absent, ...)
    local found = redis.pcall(...)
    if not found or (type(found) == 'table' and found.err) then
        return absent
    end
    return found
end

local messages, records = {}, {}
if wanted > 0 then
    messages = read({}, 'LRANGE', 'ch:' .. channel .. ':spool', 0, wanted - 1)
    records = read({}, 'LRANGE', 'num:' .. channel, 0, wanted - 1)
end
return cmsgpack.pack({
    read('0', 'GET', 'seq:' .. channel),
    read('0', 'HGET', 'logplex:batches:' .. ARGV[3], ARGV[4]),
    messages,
    records,
})
