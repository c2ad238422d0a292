"""
Who follows a channel live, and what each has been told: exact across joins, losses and repeats.

No I/O and no clock. A shard publishes what it numbers; a :class:`Feed` passes that on, so that
nothing is told twice and nothing is missing unsaid, while the shard goes away and comes back.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from attrs import define, field
from twisted.logger import Logger

from logplex.interfaces import IFollower
from logplex.store.history import Passage
from logplex.store.scripts import Origin, Published

_log = Logger()

#: Publications that wait for one reader while the history is read.
_HELD_PUBLICATIONS = 1_000
#: Lives of nodes whose last batch is remembered for one reader; the one heard first goes first.
_ORIGINS = 256

#: Messages of this node that wait for the shard, and the number of their batch.
Waiting = tuple[int, list[bytes]]


@define(eq=False, repr=False)
class Reader:
    """
    A follower of a channel, whichever shards have the channel's messages.

    While shards are replaced a channel can live on two. Then the follower is away when one of
    them is, and numbers that would not grow are left out.
    """

    follower: IFollower
    _last: int = 0
    _away: int = 0
    _complete: bool = True
    _gone: bool = False

    def leave(self) -> None:
        """Tell it nothing more."""
        self._gone = True

    def begin_at(self, last: int) -> None:
        """Its history will be read, up to this number at least."""
        self._last = max(self._last, last)

    def numbered(self, first: int, messages: Sequence[bytes]) -> None:
        """Tell it of messages that a shard has numbered."""
        if first > self._last:
            self._last = first + len(messages) - 1
            self._tell(self.follower.received, first, list(messages))
        else:
            self._tell(self.follower.received, None, list(messages))

    def unnumbered(self, messages: Sequence[bytes]) -> None:
        """Tell it of this node's own messages, which it will not hear of again."""
        self._tell(self.follower.received, None, list(messages))

    def interrupted(self) -> None:
        """A shard of the channel is away."""
        self._away += 1
        if self._away == 1:
            self._complete = True
            self._tell(self.follower.interrupted)

    def resumed(self, complete: bool) -> None:
        """It is back."""
        self._away -= 1
        self._complete = self._complete and complete
        if self._away == 0:
            self._tell(self.follower.resumed, self._complete)

    def _tell(self, what: Callable[..., None], *about: object) -> None:
        if self._gone:
            return
        try:
            what(*about)
        except Exception:
            _log.failure("bug: {follower} failed", follower=self.follower)


@define(eq=False, repr=False)
class _Place:
    """
    How far one reader has come on one shard.

    :ivar position: it knows, or need not know, everything up to this number; ``None`` before the
        first reading.
    :ivar seen: the last batch of every origin that it knows.
    :ivar held: publications that wait for the reading; ``None`` where none is awaited.
    :ivar away: whether it was told of an interruption that is not over.
    """

    reader: Reader
    position: int | None = None
    seen: dict[Origin, int] = field(factory=dict)
    held: list[Published] | None = field(factory=list)
    overflowed: bool = False
    away: bool = False

    def hear(self, published: Published) -> None:
        """Pass on what is new to this reader, or hold it."""
        if self.held is None:
            self._pass_on(published)
        elif len(self.held) < _HELD_PUBLICATIONS:
            self.held.append(published)
        else:
            self.overflowed = True

    def await_reading(self) -> None:
        """The history will be read: what is published from now on waits for it."""
        self.held, self.overflowed = [], False

    def release(self) -> None:
        """The history was read: pass on what was held."""
        held, self.held = self.held or [], None
        for published in held:
            self._pass_on(published)

    def mark(self, origin: Origin, batch: int) -> None:
        """Everything of this origin up to this batch is known."""
        if batch > self.seen.get(origin, 0):
            if len(self.seen) >= _ORIGINS and origin not in self.seen:
                del self.seen[next(iter(self.seen))]
            self.seen[origin] = batch

    def take(self, first: int, messages: list[bytes], batch: int, origin: Origin) -> None:
        """Pass on one batch's messages, unless they are known already."""
        if batch > self.seen.get(origin, 0):
            self.mark(origin, batch)
            self.reader.numbered(first, messages)

    def _pass_on(self, published: Published) -> None:
        last = published.first + len(published.messages) - 1
        if self.position is not None and last <= self.position:
            return
        self.position = last
        self.take(published.first, published.messages, published.batch, published.origin)


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
    _places: dict[Reader, _Place] = field(factory=dict)

    @property
    def empty(self) -> bool:
        return not self._places

    @property
    def readers(self) -> list[Reader]:
        return list(self._places)

    def behind(self, last: int) -> bool:
        """Whether some reader has missed something, where this is the channel's newest number."""
        return any(place.position not in (None, last) for place in self._places.values())

    def add(self, reader: Reader, waiting: Iterable[Waiting] = ()) -> None:
        """
        It will be told of what is numbered after the reading that follows.

        :param waiting: see :meth:`lost`; matters where the shard is away.
        """
        place = self._places[reader] = _Place(reader)
        if self.away:
            self._interrupt(place, waiting)

    def remove(self, reader: Reader) -> None:
        """Tell it nothing more of this shard's."""
        place = self._places.pop(reader, None)
        if place is not None and place.away:
            reader.resumed(complete=False)

    def joined(self, reader: Reader, last: int, own_batch: int) -> None:
        """
        The channel's sequence was read, after the subscription, for a reader that was added while
        the shard was there.

        :param own_batch: the last of this node's batches that the shard had taken then.
        """
        place = self._places.get(reader)
        if place is not None and place.position is None and not place.away:
            place.position = last
            reader.begin_at(last)
            place.mark(self.own, own_batch)
            place.release()

    def published(self, published: Published) -> None:
        """The shard has numbered messages."""
        for place in list(self._places.values()):
            place.hear(published)

    def lost(self, waiting: Sequence[Waiting]) -> None:
        """
        The shard is away.

        :param waiting: everything of this node that it has perhaps not taken.
        """
        if not self.away:
            self.away = True
            for place in list(self._places.values()):
                self._interrupt(place, waiting)

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

    def _interrupt(self, place: _Place, waiting: Iterable[Waiting]) -> None:
        place.away = True
        place.reader.interrupted()
        for batch, messages in waiting:
            if batch > place.seen.get(self.own, 0):
                place.mark(self.own, batch)
                place.reader.unnumbered(messages)

    def _catch_up(
        self, place: _Place, last: int, own_batch: int, history: Sequence[Passage], told: int
    ) -> None:
        missed: list[Passage] = []
        if place.position is None:
            complete = False
            place.mark(self.own, own_batch)
        else:
            missed = [each for each in history if (each.first or 0) > place.position]
            complete = _joins(missed, place.position, last) and not place.overflowed
        if place.away:
            place.mark(self.own, told)
            place.away = False
            place.reader.resumed(complete)
        for each in missed:
            if each.first is not None and each.origin is not None:
                place.take(each.first, each.messages, each.batch, each.origin)
        place.position = max(last, place.position or 0)
        place.release()


def _joins(passages: Sequence[Passage], position: int, last: int) -> bool:
    """Whether every number from behind the position to the last one is there."""
    for passage in passages:
        if passage.first != position + 1:
            return False
        position += len(passage.messages)
    return position == last
