"""
A channel's recent messages: from its home, from where it was before, from what waits here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IReactorTime
from zope.interface import implementer

from logplex.interfaces import IFollower, Recent
from logplex.spool.cluster.shard.follower import Listener
from logplex.spool.cluster.shard.shard import Shard
from logplex.spool.cluster.topology import Shards, doubles
from logplex.spool.cluster.wire.history import History, StreamEntry, interleave
from logplex.waiting import together

#: Shards that are not a channel's home are waited for so long: they have its older messages at
#: best, and those who read other shards' channels shall not notice that one stands still. The
#: answer takes milliseconds, and less than this with 1,500 of the longest messages.
_OTHERS_PATIENCE_S = 0.25


async def read_recent(
    shards: Shards, channel_id: str, kept: int, clock: IReactorTime, up_to_now: bool = False
) -> Recent:
    """
    See :meth:`logplex.interfaces.ISpool.recent`. A channel that moved, and has not had many
    messages since, is looked for on the other shards too.

    :param kept: how many messages of a channel are kept.
    :param up_to_now: give everything that followers have been told up to the moment of the answer.
    """
    homes: list[Shard] = []
    recent: Recent | None = None
    while recent is None or set(homes) != set(shards.topology.homes(channel_id)):
        homes = shards.topology.homes(channel_id)
        # One database under two URLs would show everything twice.
        everywhere = shards.topology.all()
        read_already = {later for _, later in doubles([*homes, *everywhere])}.union(homes)
        others = [each for each in everywhere if each not in read_already]
        # Once more where a step of a replacement was taken meanwhile.
        settled = len(homes) == 1 and recent is None and not up_to_now
        read = _read_settled if settled else _read_moving
        recent = await read(channel_id, homes, _Others(others, clock), kept)
    return recent


async def _read_settled(
    channel_id: str, homes: Sequence[Shard], others: _Others, kept: int
) -> Recent:
    (home,) = homes
    # Now, before anything is waited for: followers will be told of what comes from now on.
    own, was_away = home.own_messages(channel_id), home.feeds.away_from(channel_id)
    found = await _find(channel_id, homes)
    if not found and not was_away:
        # It went meanwhile, so followers have been told of an interruption. Whoever joins is one
        # of them, and reads once more; nobody else will be told any of these again.
        own = home.own_messages(channel_id)
    older = await others.find(channel_id) if sum(each.count for each in found) < kept else []
    return _recent(found + older, own, kept, complete=bool(found), moving=False)


async def _read_moving(
    channel_id: str, homes: Sequence[Shard], others: _Others, kept: int
) -> Recent:
    """
    The numbers of two homes grow side by side, so no number says where the history ends for a
    follower. Time does: this listens to both homes while it reads, until the followers have heard
    all that it has read. What it has read and heard by then is the history.
    """
    ears = [_Ear(shard, channel_id, kept) for shard in homes]
    try:
        await together(ear.listen() for ear in ears)
        found = await together(shard.history(channel_id) for shard in homes)
        older = await others.find(channel_id)
        await together(shard.everything_heard() for shard in homes)
        # Nothing is waited for from here to the answer.
        known = [
            ear.add_to(each)
            for ear, each in zip(ears, found, strict=True)
            if each is not None and ear.heard_everything
        ]
        own = [message for shard in homes for message in shard.own_messages(channel_id)]
    finally:
        for ear in ears:
            ear.leave()
    complete = len(known) == len(homes)
    return _recent(known + older, own, kept, complete, moving=len(homes) > 1)


def _recent(
    found: Sequence[History], own: Iterable[bytes], kept: int, complete: bool, moving: bool
) -> Recent:
    ordered = interleave([each.entries for each in found])
    entries: list[tuple[int | None, bytes]] = []
    for entry in ordered:
        entries += entry.numbered()
    entries += [(None, message) for message in own]
    last = max((each.last for each in found), default=0)
    jumps = {each.first: each.before for each in ordered if each.before != each.first - 1}
    return Recent(last, entries[-kept:], complete, moving, jumps)


async def _find(channel_id: str, shards: Iterable[Shard]) -> list[History]:
    """What those of the shards have that are there."""
    found = await together(shard.history(channel_id) for shard in shards)
    return [each for each in found if each is not None]


@frozen
class _Others:
    """Shards that are not the channel's home, and may have older messages."""

    shards: Sequence[Shard]
    clock: IReactorTime

    async def find(self, channel_id: str) -> list[History]:
        """
        What those of them have that answer soon. The others are not waited for, but not broken
        off either: Redis answers what it was asked.
        """
        found: dict[Shard, History | None] = {}

        async def look(shard: Shard) -> None:
            found[shard] = await shard.history(channel_id)

        looking = together(look(shard) for shard in self.shards)
        waiting: Deferred[Any] = Deferred()
        looking.chainDeferred(waiting)
        with suppress(TimeoutError):
            await waiting.addTimeout(_OTHERS_PATIENCE_S, self.clock)
        answers = [found.get(shard) for shard in self.shards]
        return [each for each in answers if each is not None]


@implementer(IFollower)
@define(eq=False, repr=False)
class _Ear:
    """
    Hears what one shard publishes of a channel.

    :ivar heard_everything: false where the shard was away, be it for a moment.
    """

    shard: Shard
    channel_id: str
    kept: int
    heard_everything: bool = True
    _heard: deque[StreamEntry] = field(factory=deque)
    _count: int = 0
    _listener: Listener = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._listener = Listener(self)

    async def listen(self) -> None:
        """Begin; done when nothing can be missed any more."""
        await self.shard.follow(self.channel_id, self._listener)

    def leave(self) -> None:
        """Hear no more."""
        self._listener.leave()
        self.shard.unfollow(self.channel_id, self._listener)

    def add_to(self, found: History) -> History:
        """What was found, and what was heard since."""
        new = [each for each in self._heard if each.first > found.last]
        last = new[-1].last if new else found.last
        return History(last, found.own_batch, found.entries + new)

    def received(self, first: int | None, messages: list[bytes]) -> None:
        """See :class:`IFollower`."""
        if first is not None:
            self._heard.append(StreamEntry(first, messages, before=first - 1))
            self._count += len(messages)
            while self._count - len(self._heard[0].messages) >= self.kept:
                self._count -= len(self._heard.popleft().messages)

    def interrupted(self) -> None:
        """See :class:`IFollower`."""
        self.heard_everything = False

    def resumed(self) -> None:
        """See :class:`IFollower`."""

    def missed(self) -> None:
        """See :class:`IFollower`."""
        self.heard_everything = False
