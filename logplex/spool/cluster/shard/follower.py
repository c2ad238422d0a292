# SPDX-License-Identifier: Apache-2.0

"""
A followed channel: the messages that its followers have been told, and its progress on a shard.

There is no I/O and no clock here.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.logger import Logger

from logplex.interfaces import IFollower
from logplex.spool.cluster.wire.history import History, StreamEntry
from logplex.spool.cluster.wire.scripts import Origin, Published

_log = Logger()

#: Publications that wait for one channel while its history is read, and their messages' bytes.
_HELD_PUBLICATIONS = 1_000
_HELD_BYTES = 4_194_304
#: So many are not written to a channel while a publication is on its way. One that is further
#: behind the last reading belongs to a sequence that began anew, below the clock of before.
_OVERTAKEN_MESSAGES = 10_000
#: Lives of nodes whose last batch is remembered for one channel; the one heard first goes first.
_ORIGINS = 256

#: Messages of this node that wait for the shard, and the number of their batch.
Waiting = tuple[int, list[bytes]]


@define(eq=False, repr=False)
class Following:
    """
    The followers of one channel on this node, for all shards that have the channel.

    A channel can be on two shards while shards are replaced. In that time the followers are
    interrupted if one of the two shards is away. A message is left out if its number is not above
    the numbers of earlier messages.

    :ivar joins: the followers whose join is going on. A follower that has left is not among them.
    :ivar pending: the number of joins that are going on.
    :ivar turns: the number of times that a shard of the channel went away or came back, or that
        messages were missed.
    """

    joins: list[IFollower] = field(factory=list)
    pending: int = 0
    turns: int = 0
    _followers: list[IFollower] = field(factory=list)
    _last: int = 0
    _away: int = 0
    _is_complete: bool = True

    @property
    def away(self) -> bool:
        """True while a shard of the channel is away."""
        return self._away > 0

    @property
    def is_unused(self) -> bool:
        """True if the channel has no followers and no joins on this node."""
        return not self._followers and not self.pending

    def begin(self, follower: IFollower) -> None:
        """Begin the join of a follower."""
        self.joins.append(follower)
        self.pending += 1

    def finish(self, follower: IFollower) -> None:
        """
        End the join of a follower. The follower is told all later messages, unless the follower has
        left.
        """
        if self.abandon(follower) and follower not in self._followers:
            self._followers.append(follower)
            if self.away:
                self._tell_one(follower, lambda each: each.interrupted())

    def abandon(self, follower: IFollower) -> bool:
        """End the join of a follower without a result. Return false if the follower has left."""
        self.pending -= 1
        if follower not in self.joins:
            return False
        self.joins.remove(follower)
        return True

    def leave(self, follower: IFollower) -> None:
        """Remove a follower from the channel."""
        self.joins = [each for each in self.joins if each is not follower]
        if follower in self._followers:
            self._followers.remove(follower)

    def numbered(self, first: int, messages: Sequence[bytes]) -> None:
        """
        Pass messages that a shard has numbered to the followers.

        :param first: the number of the first message.
        """
        number = first if first > self._last else None
        if number is not None:
            self._last = first + len(messages) - 1
        self._tell(lambda each: each.received(number, list(messages)))

    def begin_again(self, last: int) -> None:
        """
        Let the numbers continue after ``last``, because the shard has lost the channel's earlier
        numbers.
        """
        self._last = last

    def unnumbered(self, messages: Sequence[bytes]) -> None:
        """
        Pass messages of this node to the followers without numbers. The same messages will not come
        again with numbers.
        """
        self._tell(lambda each: each.received(None, list(messages)))

    def interrupted(self) -> None:
        """Count one more shard of the channel as away."""
        self._away += 1
        self.turns += 1
        if self._away == 1:
            self._is_complete = True
            self._tell(lambda each: each.interrupted())

    def resumed(self, complete: bool) -> None:
        """Count one shard of the channel as back."""
        self._away -= 1
        self.turns += 1
        self._is_complete = self._is_complete and complete
        if self._away == 0:
            self._tell(lambda each: each.resumed())
            if not self._is_complete:
                self.missed()

    def missed(self) -> None:
        """Tell the followers that messages may be missing at this point."""
        self.turns += 1
        self._tell(lambda each: each.missed())

    def _tell(self, tell: Callable[[IFollower], None]) -> None:
        for follower in self._followers.copy():
            if follower in self._followers:
                self._tell_one(follower, tell)

    @staticmethod
    def _tell_one(follower: IFollower, tell: Callable[[IFollower], None]) -> None:
        try:
            tell(follower)
        except Exception:
            _log.failure("bug: {follower} failed", follower=follower)


@define(eq=False, repr=False)
class Reading:
    """
    The history of a channel while it is read for a follower, and the messages that other followers
    are told meanwhile.

    :ivar kept: the number of messages that a channel keeps.
    :ivar own: the batches of this node that followers were told without numbers, and that may still
        wait for the shard.
    :ivar history: the history; ``None`` before it has arrived.
    """

    kept: int
    own: list[Waiting] = field(factory=list)
    history: History = field(factory=lambda: History(0, 0, []))
    _heard: deque[StreamEntry] = field(factory=deque)
    _count: int = 0

    def hear(self, first: int, messages: list[bytes]) -> None:
        """Add messages that the other followers are told during the reading."""
        self._heard.append(StreamEntry(first, messages, before=first - 1))
        self._count += len(messages)
        while self._count - len(self._heard[0].messages) >= self.kept:
            self._count -= len(self._heard.popleft().messages)

    def up_to_now(self) -> History:
        """
        Return the history that was read, with the messages that other followers were told after it.
        """
        history = self.history
        new = [each for each in self._heard if each.first > history.last]
        last = new[-1].last if new else history.last
        return History(last, history.own_batch, [*history.entries, *new])

    def own_messages(self) -> list[bytes]:
        """
        Return the messages of this node that the shard had not taken when the history was read.
        """
        taken = self.history.own_batch
        return [message for batch, texts in self.own if batch > taken for message in texts]


@define(eq=False, repr=False)
class Progress:
    """
    The messages that the followers of one channel have been told from one shard.

    :ivar away: true while publications of the shard do not arrive, or not completely. Messages of
        this node are then told at once, without numbers, and not again when the shard publishes
        them.
    :ivar position: the newest number that was read or published. All messages up to it are known,
        or not needed. ``None`` before the first reading.
    :ivar seen: for each origin, the number of the last known batch.
    :ivar told: ranges of this node's batches whose messages were told without numbers. The end of
        the last range is ``None`` while the shard is away.
    :ivar held: publications that wait until a history has been read; ``None`` if none is being
        read.
    :ivar held_bytes: the bytes of the held messages.
    :ivar overflowed: the last number of the publications that found no room.
    :ivar readings: the readings of the joins that are going on; they get all told messages.
    """

    following: Following
    own: Origin
    away: bool = False
    position: int | None = None
    seen: dict[Origin, int] = field(factory=dict)
    told: list[tuple[int, int | None]] = field(factory=list)
    held: list[Published] | None = field(factory=list)
    held_bytes: int = 0
    overflowed: int = 0
    readings: list[Reading] = field(factory=list)

    def published(self, published: Published) -> None:
        """
        Pass the new messages of a publication to the followers. While a history is being read, hold
        the publication.
        """
        if self.held is None:
            self._pass_on(published)
        elif len(self.held) < _HELD_PUBLICATIONS and self.held_bytes < _HELD_BYTES:
            self.held.append(published)
            self.held_bytes += sum(map(len, published.messages))
        else:
            self.overflowed = published.last

    def received(self, messages: Sequence[bytes]) -> None:
        """
        Register messages that this node has received. If the shard is away, pass the messages to
        the followers at once.
        """
        if self.away:
            self.following.unnumbered(messages)

    def read(self, reading: Reading, history: History) -> None:
        """Store the history that was read for a join while the shard was present."""
        reading.history = history
        if self.position is None:
            self._mark(self.own, history.own_batch)
            self._read_to(history.last)

    def lost(self, unheard: Sequence[Waiting], begin: int) -> None:
        """
        Mark the shard as away. Pass this node's own messages to the followers at once, since the
        shard may have lost them.

        :param unheard: all messages of this node that the followers may not have been told yet.
        :param begin: the number of the next batch.
        """
        if self.away:
            return
        self.away = True
        self.following.interrupted()
        for batch, messages in unheard:
            begin = min(begin, batch)
            if batch > self.seen.get(self.own, 0) and not self.was_told(batch):
                self.following.unnumbered(messages)
        if self.told and (self.told[-1][1] or 0) >= begin:
            begin, _ = self.told.pop()
        self.told.append((begin, None))

    def subscribed(self) -> None:
        """Start to hold publications until :meth:`caught_up`, because the shard publishes again."""
        self.held, self.held_bytes, self.overflowed = [], 0, 0

    def caught_up(self, history: History, told: int) -> None:
        """
        Give the followers the messages that they missed while the shard was away.

        :param history: the history that was read after the subscription, at least the entries after
            :attr:`position`.
        :param told: the number of this node's last sealed batch. The followers were told all
            batches up to this number.
        """
        missed: list[StreamEntry] = []
        complete = False
        if self.position is not None:
            missed = [each for each in history.entries if each.first > self.position]
            complete = _joins(missed, self.position, history.last)
        if self.away:
            begin, _ = self.told.pop()
            if begin <= told:
                self.told.append((begin, told))
            self.away = False
            self.following.resumed(complete)
        for each in missed:
            if each.origin is not None:
                self._take(each.first, each.messages, each.batch, each.origin)
        self._mark(self.own, history.own_batch)
        self._read_to(history.last)

    def ended(self, unwritten: bool) -> None:
        """
        End the following of the channel on this shard.

        :param unwritten: true if this node knows of no message of the channel that was written to
            this shard meanwhile.
        """
        if self.away:
            others = any(origin != self.own for origin in self.seen)
            self.following.resumed(complete=unwritten and not others)

    def was_told(self, batch: int) -> bool:
        """Return true if the followers got this batch of this node at once, without numbers."""
        return any(begin <= batch and (end is None or batch <= end) for begin, end in self.told)

    def _read_to(self, last: int) -> None:
        """
        Record that the history was read up to the number ``last``. Pass the held publications after
        this number to the followers.
        """
        if last < (self.position or 0):
            self.following.begin_again(last)
        self.position = last
        held, self.held = self.held or [], None
        for published in held:
            self._pass_on(published)
        if self.overflowed > self.position:
            self.position = self.overflowed
            self.following.missed()

    def _mark(self, origin: Origin, batch: int) -> None:
        """Record that all batches of a node up to this number are known."""
        if batch > self.seen.get(origin, 0):
            if len(self.seen) >= _ORIGINS and origin not in self.seen:
                del self.seen[next(iter(self.seen))]
            self.seen[origin] = batch
            if origin == self.own:
                self.told = [each for each in self.told if each[1] is None or each[1] > batch]

    def _take(self, first: int, messages: list[bytes], batch: int, origin: Origin) -> None:
        """Pass the messages of one batch to the followers, unless the batch is known already."""
        if batch > self.seen.get(origin, 0):
            known = origin == self.own and self.was_told(batch)
            self._mark(origin, batch)
            if not known:
                for reading in self.readings:
                    reading.hear(first, messages)
                self.following.numbered(first, messages)

    def _pass_on(self, published: Published) -> None:
        if self.position is not None:
            behind = self.position - published.last
            if behind >= 0 and (published.before or behind < _OVERTAKEN_MESSAGES):
                # A reading was faster, and has shown it.
                return
            if behind >= 0:
                self.following.begin_again(published.first - 1)
            if published.before != self.position:
                self.following.missed()
        self.position = published.last
        self._take(published.first, published.messages, published.batch, published.origin)


def _joins(entries: Sequence[StreamEntry], number: int, last: int) -> bool:
    """Return true if the entries of a history include every message after a number."""
    for entry in entries:
        if entry.before != number:
            return False
        number = entry.last
    return number == last
