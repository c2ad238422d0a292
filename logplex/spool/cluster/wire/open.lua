-- SPDX-License-Identifier: Apache-2.0

-- Introduce a connection to its shard. ARGV: the run id of the Redis process, prefix of the live
-- channels.
--
-- A Redis that was restarted may have lost its last writes, and with them the last numbers that it
-- gave. From now on it gives no number below the clock.
--
-- The script publishes and writes in any case, and uses every command that a batch needs. So it
-- fails if the shard cannot write, or if the node may not use a command or the keys of channels: a
-- batch that fails half-way would be lost. The keys belong to the empty channel id, which no channel
-- has.
--
-- Gives 1 if the key of the shard held something else and was replaced, otherwise 0.

local SHARD = 'logplex:shard'
-- The greatest number that a channel can have; see append.lua.
local MOST = 9e15

redis.call('PUBLISH', ARGV[2], '')
redis.call('PUBSUB', 'NUMSUB', ARGV[2])
redis.call('DEL', 'log:', 'seq:')
redis.call('XADD', 'log:', '1', 'n', '0')
redis.call('XINFO', 'STREAM', 'log:')
redis.call('TYPE', 'log:')
redis.call('XTRIM', 'log:', 'MINID', '1')
redis.call('EXPIRE', 'log:', '60')
redis.call('SET', 'seq:', '0', 'EX', '60')
redis.call('MGET', 'seq:')
redis.call('DEL', 'log:', 'seq:')
local run, replaced = redis.pcall('HGET', SHARD, 'run'), 0
if type(run) == 'table' then
    redis.call('DEL', SHARD)
    run, replaced = false, 1
end
if run ~= ARGV[1] then
    local time = redis.call('TIME')
    local now = tonumber(time[1]) * 1000000 + tonumber(time[2])
    local floor = tonumber(redis.call('HGET', SHARD, 'floor') or 0) or 0
    if not (floor > now and floor <= MOST) then
        floor = now
    end
    redis.call('HSET', SHARD, 'floor', string.format('%.0f', floor))
end
redis.call('HSET', SHARD, 'run', ARGV[1])
return replaced
