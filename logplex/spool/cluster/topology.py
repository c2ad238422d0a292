"""
Which shards there are, and which of them keeps a channel: one set of them, two at a replacement.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from logplex.spool.cluster.ring import Placement, shard_name
from logplex.spool.cluster.shard.shard import Shard

#: Channels whose shard is remembered; when there are more, the ring is asked anew.
_PLACES = 200_000


@frozen
class ShardSet:
    """Shards, and which of them keeps which channel."""

    placement: Placement
    shards: dict[str, Shard]

    def of(self, channel_id: str) -> Shard:
        return self.shards[self.placement.shard_of(channel_id)]


def doubles(shards: Iterable[Shard]) -> list[tuple[Shard, Shard]]:
    """
    Shards that are one database of one Redis under different URLs: the first of them, with each
    of the others.
    """
    first: dict[tuple[bytes, int], Shard] = {}
    found = []
    for shard in shards:
        if shard.database is not None:
            earlier = first.setdefault(shard.database, shard)
            if earlier is not shard:
                found.append((earlier, shard))
    return found


class ShardMap:
    """
    The shards that a node writes to, and those it writes to no more or not yet.

    :param ring: makes a placement of shard URLs.
    :param make_shard: a shard for a URL, not started.
    :ivar current: where messages are written.
    :ivar other: while shards are replaced: the new ones, after the commit the old ones.
    :ivar both: whether the other ones are homes, too; not before all of them have been reached.
    """

    def __init__(
        self,
        urls: Sequence[str],
        ring: Callable[[Sequence[str]], Placement],
        make_shard: Callable[[str], Shard],
    ) -> None:
        self._ring = ring
        self._make_shard = make_shard
        self._places: dict[str, Shard] = {}
        #: What was current before the last switch. Kept also when the replacement is over: a
        #: channel may have its first message since long after, and its new home may know lower
        #: numbers. To raise a sequence again, where places were forgotten, changes nothing.
        self._before: ShardSet | None = None
        self.other: ShardSet | None = None
        self.both = False
        self.current = self._make(urls, {})

    def all(self) -> list[Shard]:
        """Every shard of both sets, once."""
        return [*self.current.shards.values(), *self.only_other()]

    def only_other(self) -> list[Shard]:
        """The shards that are in the other set only."""
        if self.other is None:
            return []
        current = self.current.shards.values()
        return [each for each in self.other.shards.values() if each not in current]

    def home(self, channel_id: str) -> Shard:
        """Where the channel's messages are written, and its sequence goes on above the clock."""
        return self._places.get(channel_id) or self._locate(channel_id)

    def homes(self, channel_id: str) -> list[Shard]:
        """Where any node may write the channel's messages now; this node's way first."""
        home = self.current.of(channel_id)
        if self.other is None or not self.both or self.other.of(channel_id) is home:
            return [home]
        return [home, self.other.of(channel_id)]

    def prepare(self, urls: Sequence[str]) -> None:
        """
        Make the other set; a shard whose URL stays is in both.

        :raises ValueError: these URLs make no ring.
        """
        self.other = self._make(urls, {each.url: each for each in self.current.shards.values()})

    def switch(self) -> None:
        """Let the two sets change places."""
        assert self.other is not None
        self.current, self.other, self._before = self.other, self.current, self.current
        self._places.clear()

    def _make(self, urls: Sequence[str], known: dict[str, Shard]) -> ShardSet:
        placement = self._ring(urls)
        return ShardSet(
            placement, {shard_name(url): known.get(url) or self._make_shard(url) for url in urls}
        )

    def _locate(self, channel_id: str) -> Shard:
        shard = self.current.of(channel_id)
        if self._before is not None and self._before.of(channel_id) is not shard:
            shard.outbox.raise_sequence(channel_id)
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[channel_id] = shard
        return shard
