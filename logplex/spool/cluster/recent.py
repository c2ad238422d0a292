# SPDX-License-Identifier: Apache-2.0

"""
The reading of the recent messages of a channel: from the channel's present shards, from its earlier
shards, and from this node's waiting messages.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime

from logplex.interfaces import Recent
from logplex.spool.cluster.shard.follower import Following, Reading
from logplex.spool.cluster.shard.shard import Shard
from logplex.spool.cluster.topology import Shards, doubles
from logplex.spool.cluster.wire.history import History, interleave
from logplex.waiting import together

#: The time to wait for shards that are not the home of a channel: they have its older messages at
#: best, and readers of other shards' channels shall not notice that one stands still. The answer
#: takes milliseconds, and less than this with 1,500 of the longest messages.
_OTHERS_PATIENCE_S = 0.25
#: The most readings of a history for one join, if shards come and go meanwhile.
_MOST_READINGS = 3


async def read_recent(shards: Shards, channel_id: str, kept: int, clock: IReactorTime) -> Recent:
    """
    Return the recent messages of a channel; see :meth:`logplex.interfaces.ISpool.recent`.

    If the shards of the channel hold too few messages, read the other shards too: the channel may
    have moved.

    :param kept: the number of messages that a channel keeps.
    """
    while True:
        homes = shards.topology.homes(channel_id)
        found = await together(home.history(channel_id) for home in homes)
        there = [each for each in found if each is not None]
        older = await _older(shards, homes, channel_id, there, kept, clock)
        if homes == shards.topology.homes(channel_id):
            # Otherwise a step of a replacement was taken meanwhile.
            away = [home for home, each in zip(homes, found, strict=True) if each is None]
            own = [message for home in away for message in home.outbox.to_be_kept(channel_id)]
            return _recent(there + older, own, kept, complete=not away, moving=len(homes) > 1)


async def read_joining(
    shards: Shards, channel_id: str, following: Following, kept: int, clock: IReactorTime
) -> Recent:
    """
    Return the recent messages of a channel for a follower that joins; see
    :meth:`logplex.interfaces.ISpool.join`.

    The result ends with the last message that the channel's other followers have been told. If a
    shard of the channel goes away or comes back during the reading, read everything again.

    :param kept: the number of messages that a channel keeps.
    """
    for _ in range(_MOST_READINGS):
        homes, turns = shards.topology.homes(channel_id), following.turns
        readings = await together(home.followers.join(channel_id, following) for home in homes)
        try:
            there = [each for each in readings if each is not None]
            histories = [each.history for each in there]
            older = await _older(shards, homes, channel_id, histories, kept, clock)
        finally:
            for home, each in zip(homes, readings, strict=True):
                if each is not None:
                    home.followers.joined(channel_id, each)
        if homes != shards.topology.homes(channel_id):
            continue
        if following.away or (turns == following.turns and len(there) == len(homes)):
            return _joined(homes, readings, older, channel_id, kept)
    return Recent(0, [], complete=False)


def _joined(
    homes: Sequence[Shard],
    readings: Sequence[Reading | None],
    older: Sequence[History],
    channel_id: str,
    kept: int,
) -> Recent:
    histories: list[History] = []
    own: list[bytes] = []
    for home, reading in zip(homes, readings, strict=True):
        if home.followers.away_from(channel_id):
            own += home.outbox.to_be_kept(channel_id)
        elif reading is not None:
            histories.append(reading.up_to_now())
            own += reading.own_messages()
    complete = len(histories) == len(homes)
    return _recent([*histories, *older], own, kept, complete, moving=len(homes) > 1)


def _recent(
    histories: Sequence[History], own: Iterable[bytes], kept: int, complete: bool, moving: bool
) -> Recent:
    ordered = interleave([each.entries for each in histories])
    entries: list[tuple[int | None, bytes]] = []
    for each in ordered:
        entries += each.numbered()
    entries += [(None, message) for message in own]
    last = max((each.last for each in histories), default=0)
    jumps = {each.first: each.before for each in ordered if each.before != each.first - 1}
    return Recent(last, entries[-kept:], complete, moving, jumps)


async def _older(
    shards: Shards,
    homes: Sequence[Shard],
    channel_id: str,
    found: Sequence[History],
    kept: int,
    clock: IReactorTime,
) -> list[History]:
    """
    Return messages of a channel from shards to which the channel belonged before.

    Return nothing if the present shards of the channel hold ``kept`` messages. Leave out a shard
    that does not answer soon.

    :param homes: the present shards of the channel.
    :param found: the histories that the present shards returned.
    :param kept: the number of messages that a channel keeps.
    """
    if len(homes) == 1 and sum(each.count for each in found) >= kept:
        return []
    # One database under two URLs would show everything twice.
    everywhere = shards.topology.all()
    read_already = {later for _, later in doubles([*homes, *everywhere])}.union(homes)
    others = [each for each in everywhere if each not in read_already]
    answers: dict[Shard, History | None] = {}

    async def look(shard: Shard) -> None:
        answers[shard] = await shard.history(channel_id)

    waiting: Deferred[Any] = Deferred()
    together(look(shard) for shard in others).chainDeferred(waiting)
    with suppress(TimeoutError):
        await waiting.addTimeout(_OTHERS_PATIENCE_S, clock)
    return [each for each in map(answers.get, others) if each is not None]
