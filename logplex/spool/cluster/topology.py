# SPDX-License-Identifier: Apache-2.0

"""
The shards of a node as a value: settled, or at one of the steps of a replacement.

A step makes a new value from the old one (:mod:`~logplex.spool.cluster.replacement`):

* :class:`Settled`: one set of shards.
* :class:`Preparing`: this node connects to the new shards; nothing else has changed.
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
    """A set of shards, by name, and the ring that assigns channels to the shards."""

    ring: Ring
    shards: dict[str, Shard]

    def of(self, channel_id: str) -> Shard:
        """Return the shard that keeps this channel."""
        return self.shards[self.ring.shard_of(channel_id)]


@frozen
class _Topology:
    """
    The shards of a node, in the normal state or at a step of a replacement.

    :ivar current: the shards that this node writes to.
    :ivar before: the shards that this node wrote to before the last replacement; at first the same
        as ``current``. A channel may get its next message long after a replacement, and its new
        shard may know lower numbers.
    """

    current: ShardSet
    before: ShardSet

    def all(self) -> list[Shard]:
        """Return every shard of this node, without repetition."""
        return list(self.current.shards.values())

    def homes(self, channel_id: str) -> list[Shard]:
        """
        Return the shards to which any node may write the messages of a channel now. The first shard
        is the one to which this node writes.
        """
        return [self.current.of(channel_id)]


@frozen
class Settled(_Topology):
    """The normal state: one set of shards, and no replacement."""

    def prepare(self, new: ShardSet) -> Preparing:
        """Begin to replace the present shards by a new set. A shard that stays is in both sets."""
        return Preparing(self.current, self.before, new)


@frozen
class _TwoSets(_Topology):
    """
    The shards during a replacement: the old set and the new set.

    :ivar other: the set that this node does not write to now. ``current`` is the set that this node
        writes to.
    """

    other: ShardSet

    def all(self) -> list[Shard]:
        """Return every shard of the old and of the new set, without repetition."""
        return [*self.current.shards.values(), *self.only_other()]

    def only_other(self) -> list[Shard]:
        """Return the shards that only the set ``other`` has, to which this node does not write."""
        current = list(self.current.shards.values())
        return [each for each in self.other.shards.values() if each not in current]

    @property
    def has_switched(self) -> bool:
        """True if this node has written to the old shards, and writes to the new shards now."""
        return self.before is self.other

    def settle(self) -> Settled:
        """End the replacement: keep the set that this node writes to, and give up the other set."""
        return Settled(self.current, self.before)


@frozen
class Preparing(_TwoSets):
    """
    The first part of a replacement: this node connects to the new shards. No channel is written to
    them yet.
    """

    def listen(self) -> Prepared:
        """
        Begin the state in which this node listens to the new shards too, because all of them are
        connected.
        """
        return Prepared(self.current, self.before, self.other)


@frozen
class _TwoHomes(_TwoSets):
    """
    The part of a replacement in which a channel that moves has two shards: an old one and a new
    one.
    """

    def homes(self, channel_id: str) -> list[Shard]:
        """
        Return the shards to which any node may write the messages of a channel now. The first shard
        is the one to which this node writes.
        """
        home, second = self.current.of(channel_id), self.other.of(channel_id)
        return [home] if second is home else [home, second]


@frozen
class Prepared(_TwoHomes):
    """
    The part of a replacement in which this node writes to the old shards and listens to the new
    shards too.
    """

    def commit(self) -> Committed:
        """Write to the new shards from now on, and listen to the old shards too."""
        return Committed(current=self.other, before=self.current, other=self.current)


@frozen
class Committed(_TwoHomes):
    """
    The part of a replacement in which this node writes to the new shards and still listens to the
    old shards.
    """

    def abort(self) -> Prepared:
        """Write to the old shards again from now on, and still listen to the new shards."""
        return Prepared(current=self.other, before=self.current, other=self.current)


#: What a node's shards can be.
Topology = Settled | Preparing | Prepared | Committed


def doubles(shards: Iterable[Shard]) -> list[tuple[Shard, Shard]]:
    """
    Return the pairs of shards whose URLs differ but lead to the same database of the same Redis.
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
    The present shards of this node, and the shard of each channel.

    :param make_shard: a function that makes a shard for a URL. The shard is not started yet.
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
        """The present shards of this node, and the step of the replacement."""
        return self._topology

    @topology.setter
    def topology(self, topology: Topology) -> None:
        if topology.current is not self._topology.current:
            self._places.clear()
        self._topology = topology

    def make_set(self, urls: Sequence[str], known: Iterable[Shard] = ()) -> ShardSet:
        """
        Make a set of shards for these URLs.

        :param known: existing shards. A shard with the same URL is used again.
        :raises ValueError: the URLs do not make a ring.
        """
        ring = Ring(urls)
        by_url = {each.url: each for each in known}
        return ShardSet(
            ring, {shard_name(url): by_url.get(url) or self._make_shard(url) for url in urls}
        )

    def home(self, channel_id: str) -> Shard:
        """
        Return the shard to which this node writes a channel. If the channel has moved to this
        shard, its next numbers are above the clock.
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
