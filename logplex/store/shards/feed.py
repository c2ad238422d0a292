"""
Who follows a channel live on one shard: exact across joins, losses and repeats.

No I/O and no clock. A shard publishes what it numbers; a :class:`Feed` passes that on, so that
nothing is told twice and nothing is missing unsaid, while the shard goes away and comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field

from logplex.store.shards.history import Passage
from logplex.store.shards.reader import Place, Reader
from logplex.store.shards.scripts import Origin, Published

#: Messages of this node that wait for the shard, and the number of their batch.
Waiting = tuple[int, list[bytes]]


@define(eq=False, repr=False)
class Feed:
    """
    The readers of one channel on one shard.

    :ivar away: nothing is heard of the shard, or not everything yet: what this node itself
        receives is told at once, without number, and not again when it comes through the shard.
    """

    channel_id: str
    own: Origin
    away: bool = True
    _places: dict[Reader, Place] = field(factory=dict)

    @property
    def empty(self) -> bool:
        return not self._places

    def behind(self, last: int) -> bool:
        """Whether some reader has missed something, where this is the channel's newest number."""
        return any(place.position not in (None, last) for place in self._places.values())

    def add(self, reader: Reader, waiting: Iterable[Waiting] = (), begin: int = 0) -> None:
        """
        It will be told of what is numbered after the reading that follows.

        :param waiting: see :meth:`lost`; this and the next matter where the shard is away.
        """
        assert reader not in self._places
        place = self._places[reader] = Place(reader, self.own)
        if self.away:
            self._interrupt(place, waiting, begin)

    def remove(self, reader: Reader, unwritten: bool = False) -> None:
        """
        Tell it nothing more of this shard's.

        :param unwritten: as far as this node knows nobody has written there since it was added.
        """
        place = self._places.pop(reader, None)
        if place is not None and place.away:
            others = any(origin != self.own for origin in place.seen)
            reader.resumed(complete=unwritten and not others)

    def joined(self, reader: Reader, last: int, own_batch: int) -> None:
        """
        The channel's sequence was read, after the subscription, for a reader that was added while
        the shard was there.

        :param own_batch: the last of this node's batches that the shard had taken then.
        """
        place = self._places.get(reader)
        if place is not None and place.position is None and not place.away:
            place.mark(self.own, own_batch)
            place.read_to(last)

    def published(self, published: Published) -> None:
        """The shard has numbered messages."""
        for place in list(self._places.values()):
            place.hear(published)

    def lost(self, waiting: Sequence[Waiting], begin: int) -> None:
        """
        The shard is away.

        :param waiting: everything of this node that it has perhaps not taken.
        :param begin: the first batch that it has perhaps not taken, of any channel. What was in
            earlier ones need not have been heard yet; it is in the history.
        """
        if not self.away:
            self.away = True
            for place in list(self._places.values()):
                self._interrupt(place, waiting, begin)

    def received(self, messages: Sequence[bytes]) -> None:
        """This node has received messages while the shard was away."""
        for place in list(self._places.values()):
            if place.away:
                place.reader.unnumbered(messages)

    def subscribed(self) -> None:
        """The shard publishes again: hold that until :meth:`caught_up`."""
        for place in self._places.values():
            place.await_reading()

    def caught_up(self, last: int, own_batch: int, history: Sequence[Passage], told: int) -> None:
        """
        The history was read, after the subscription: tell what was missed, and go on.

        :param last: the channel's sequence.
        :param own_batch: the last of this node's batches that the shard had taken then.
        :param history: what is kept, oldest first.
        :param told: the number of the batch that was sealed last; everything that this node has
            received up to now is in batches up to it, and was told.
        """
        self.away = False
        for place in list(self._places.values()):
            self._catch_up(place, last, own_batch, history, told)

    def _interrupt(self, place: Place, waiting: Iterable[Waiting], begin: int) -> None:
        place.away = True
        place.reader.interrupted()
        for batch, messages in waiting:
            if batch > place.seen.get(self.own, 0) and not place.was_told(batch):
                place.reader.unnumbered(messages)
        place.tell_from(begin)

    def _catch_up(
        self, place: Place, last: int, own_batch: int, history: Sequence[Passage], told: int
    ) -> None:
        missed: list[Passage] = []
        if place.position is None:
            complete = False
        else:
            missed = [each for each in history if (each.first or 0) > place.position]
            complete = _joins(missed, place.position, last)
        if place.away:
            place.tell_until(told)
            place.away = False
            place.reader.resumed(complete)
        for each in missed:
            if each.first is not None and each.origin is not None:
                place.take(each.first, each.messages, each.batch, each.origin)
        place.mark(self.own, own_batch)
        place.read_to(last)


def _joins(passages: Sequence[Passage], number: int, last: int) -> bool:
    """Whether everything is there that was numbered after this number, up to the last."""
    for passage in passages:
        if passage.before != number:
            return False
        number = (passage.first or 0) + len(passage.messages) - 1
    return number == last
