# SPDX-License-Identifier: Apache-2.0

"""
The shards of a node as a value: settled, or at one of the steps of a replacement.

A step makes a new value from the old one (:mod:`~logplex.spool.cluster.replacement`):

* :class:`Settled`: one set of shards.
* :class:`Preparing`: connections to the new set are made; nothing else has changed.
* :class:`Prepared`: the other set is read and listened to, because other nodes may write there.
* :class:`Committed`: the two sets have been swapped; the old one is still listened to.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import frozen

from logplex.spool.cluster.ring import Ring, shard_name
from logplex.spool.cluster.shard.shard import Shard

#: Channels whose shard is remembered; when there are more, the ring is asked again.
_PLACES = 200_000


@frozen(eq=False, repr=False)
class ShardSet:
    """A set of shards by name, and the ring that assigns channels to them."""

    ring: Ring
    shards: dict[str, Shard]

    def of(self, channel_id: str) -> Shard:
        """Return the shard that keeps this channel."""
        return self.shards[self.ring.shard_of(channel_id)]


@frozen
class _Topology:
    """
    The shards of a node, at any step.

    :ivar current: the shards that this node writes to.
    :ivar before: the shards that it wrote to before the last replacement; at first the current
        ones. A channel may get its next message long after a replacement, and its new home may know
        lower numbers.
    """

    current: ShardSet
    before: ShardSet

    def all(self) -> list[Shard]:
        """Return every shard, once."""
        return list(self.current.shards.values())

    def homes(self, channel_id: str) -> list[Shard]:
        """
        Return the shards to which some node may write the channel. The first is the shard to which
        this node writes it.
        """
        return [self.current.of(channel_id)]


@frozen
class Settled(_Topology):
    """One set of shards."""

    def prepare(self, new: ShardSet) -> Preparing:
        """Begin a replacement by these shards. Shards that stay are in both sets."""
        return Preparing(self.current, self.before, new)


@frozen
class _TwoSets(_Topology):
    """
    Two sets of shards.

    :ivar other: the set that this node does not write to.
    """

    other: ShardSet

    def all(self) -> list[Shard]:
        """Return every shard of both sets, once."""
        return [*self.current.shards.values(), *self.only_other()]

    def only_other(self) -> list[Shard]:
        """Return the shards that are in the other set only."""
        current = list(self.current.shards.values())
        return [each for each in self.other.shards.values() if each not in current]

    @property
    def has_switched(self) -> bool:
        """True if this node writes to the new shards, and wrote to the old ones before."""
        return self.before is self.other

    def settle(self) -> Settled:
        """End the replacement, and give up the other set."""
        return Settled(self.current, self.before)


@frozen
class Preparing(_TwoSets):
    """
    The other set is new, and connections to it are being made. No channel has a home there yet.
    """

    def listen(self) -> Prepared:
        """Note that all new shards are connected."""
        return Prepared(self.current, self.before, self.other)


@frozen
class _TwoHomes(_TwoSets):
    """A channel that moves has a home in both sets."""

    def homes(self, channel_id: str) -> list[Shard]:
        """
        Return the shards to which some node may write the channel. The first is the shard to which
        this node writes it.
        """
        home, second = self.current.of(channel_id), self.other.of(channel_id)
        return [home] if second is home else [home, second]


@frozen
class Prepared(_TwoHomes):
    """The other set is new, or this node wrote to it before an abort."""

    def commit(self) -> Committed:
        """Swap the two sets: write to the new one."""
        return Committed(current=self.other, before=self.current, other=self.current)


@frozen
class Committed(_TwoHomes):
    """The other set is the old one, to which this node wrote before the commit."""

    def abort(self) -> Prepared:
        """Swap the two sets back."""
        return Prepared(current=self.other, before=self.current, other=self.current)


#: What a node's shards can be.
Topology = Settled | Preparing | Prepared | Committed


def doubles(shards: Iterable[Shard]) -> list[tuple[Shard, Shard]]:
    """
    Return pairs of shards whose different URLs lead to the same database of the same Redis.
    """
    first: dict[tuple[bytes, int], Shard] = {}
    found = []
    for shard in shards:
        if shard.database is not None:
            earlier = first.setdefault(shard.database, shard)
            if earlier is not shard:
                found.append((earlier, shard))
    return found


class Shards:
    """
    The topology of this node as it is now, and the home of each channel in it.

    :param make_shard: makes a shard for a URL; it is not started yet.
    """

    def __init__(
        self,
        urls: Sequence[str],
        make_shard: Callable[[str], Shard],
    ) -> None:
        self._make_shard = make_shard
        self._places: dict[str, Shard] = {}
        current = self.make_set(urls)
        self._topology: Topology = Settled(current, before=current)

    @property
    def topology(self) -> Topology:
        """The present topology: the shards, and the step of the replacement."""
        return self._topology

    @topology.setter
    def topology(self, topology: Topology) -> None:
        if topology.current is not self._topology.current:
            self._places.clear()
        self._topology = topology

    def make_set(self, urls: Sequence[str], known: Iterable[Shard] = ()) -> ShardSet:
        """
        Make a set of shards.

        :param known: shards that are reused if their URL is the same.
        :raises ValueError: the URLs do not make a ring.
        """
        ring = Ring(urls)
        by_url = {each.url: each for each in known}
        return ShardSet(
            ring, {shard_name(url): by_url.get(url) or self._make_shard(url) for url in urls}
        )

    def home(self, channel_id: str) -> Shard:
        """
        Return the shard to which this node writes the channel. A channel that has moved to it
        continues with numbers above the clock.
        """
        return self._places.get(channel_id) or self._locate(channel_id)

    def _locate(self, channel_id: str) -> Shard:
        shard = self._topology.current.of(channel_id)
        # To raise a sequence again, when places were forgotten, changes nothing.
        if self._topology.before.of(channel_id) is not shard:
            shard.outbox.raise_sequence(channel_id)
        if len(self._places) >= _PLACES:
            self._places.clear()
        self._places[channel_id] = shard
        return shard
