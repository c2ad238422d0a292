"""
Who follows a channel live on one shard: exact across joins, losses and repeats.

No I/O and no clock. A shard publishes what it numbers; a :class:`Feed` passes that on, so that
nothing is told twice and nothing is missing unsaid, while the shard goes away and comes back.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from attrs import define, field

from logplex.spool.cluster.shard.follower import Listener, Progress
from logplex.spool.cluster.wire.history import History, StreamEntry
from logplex.spool.cluster.wire.scripts import Origin, Published

#: Messages of this node that wait for the shard, and the number of their batch.
Waiting = tuple[int, list[bytes]]


@define(eq=False, repr=False)
class Feed:
    """
    The listeners of one channel on one shard.

    :ivar away: nothing is heard of the shard, or not everything yet: what this node itself
        receives is told at once, without number, and not again when it comes through the shard.
    """

    channel_id: str
    own: Origin
    away: bool = True
    _listeners: dict[Listener, Progress] = field(factory=dict)

    @property
    def empty(self) -> bool:
        return not self._listeners

    @property
    def position(self) -> int | None:
        """The number after which some listener may have missed something."""
        positions = [each.position for each in self._listeners.values()]
        return min((each for each in positions if each is not None), default=None)

    def add(self, listener: Listener, waiting: Iterable[Waiting] = (), begin: int = 0) -> None:
        """
        It will be told of what is numbered after the reading that follows.

        :param waiting: see :meth:`lost`; this and the next matter where the shard is away.
        """
        assert listener not in self._listeners
        progress = self._listeners[listener] = Progress(listener, self.own)
        if self.away:
            self._interrupt(progress, waiting, begin)

    def remove(self, listener: Listener, unwritten: bool = False) -> None:
        """
        Tell it nothing more of this shard's.

        :param unwritten: as far as this node knows nobody has written there since it was added.
        """
        progress = self._listeners.pop(listener, None)
        if progress is not None and progress.away:
            others = any(origin != self.own for origin in progress.seen)
            listener.resumed(complete=unwritten and not others)

    def joined(self, listener: Listener, last: int, own_batch: int) -> None:
        """
        The channel's sequence was read, after the subscription, for a listener that was added while
        the shard was there.

        :param own_batch: the last of this node's batches that the shard had taken then.
        """
        progress = self._listeners.get(listener)
        if progress is not None and progress.position is None and not progress.away:
            progress.mark(self.own, own_batch)
            progress.read_to(last)

    def published(self, published: Published) -> None:
        """The shard has numbered messages."""
        for progress in list(self._listeners.values()):
            progress.hear(published)

    def lost(self, waiting: Sequence[Waiting], begin: int) -> None:
        """
        The shard is away.

        :param waiting: everything of this node that it has perhaps not taken.
        :param begin: the first batch that it has perhaps not taken, of any channel. What was in
            earlier ones need not have been heard yet; it is in the history.
        """
        if not self.away:
            self.away = True
            for progress in list(self._listeners.values()):
                self._interrupt(progress, waiting, begin)

    def received(self, messages: Sequence[bytes]) -> None:
        """This node has received messages while the shard was away."""
        for progress in list(self._listeners.values()):
            if progress.away:
                progress.listener.unnumbered(messages)

    def subscribed(self) -> None:
        """The shard publishes again: hold that until :meth:`caught_up`."""
        for progress in self._listeners.values():
            progress.await_reading()

    def caught_up(self, history: History, told: int) -> None:
        """
        The history was read, after the subscription: tell what was missed, and go on.

        :param history: at least the entries after :attr:`position`.
        :param told: the number of the batch that was sealed last; everything that this node has
            received up to now is in batches up to it, and was told.
        """
        self.away = False
        for progress in list(self._listeners.values()):
            self._catch_up(progress, history, told)

    def _interrupt(self, progress: Progress, waiting: Iterable[Waiting], begin: int) -> None:
        progress.away = True
        progress.listener.interrupted()
        for batch, messages in waiting:
            if batch > progress.seen.get(self.own, 0) and not progress.was_told(batch):
                progress.listener.unnumbered(messages)
        progress.tell_from(begin)

    def _catch_up(self, progress: Progress, history: History, told: int) -> None:
        missed: list[StreamEntry] = []
        if progress.position is None:
            complete = False
        else:
            missed = [each for each in history.entries if each.first > progress.position]
            complete = _joins(missed, progress.position, history.last)
        if progress.away:
            progress.tell_until(told)
            progress.away = False
            progress.listener.resumed(complete)
        for each in missed:
            if each.origin is not None:
                progress.take(each.first, each.messages, each.batch, each.origin)
        progress.mark(self.own, history.own_batch)
        progress.read_to(history.last)


def _joins(entries: Sequence[StreamEntry], number: int, last: int) -> bool:
    """Return true if everything is there that was numbered after this number, up to the last."""
    for entry in entries:
        if entry.before != number:
            return False
        number = entry.last
    return number == last
