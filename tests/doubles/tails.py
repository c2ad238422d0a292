# SPDX-License-Identifier: Apache-2.0

"""A spool that answers when the test says so, and an answer that keeps what is written."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from logplex.interfaces import IFollower, ISpool, Recent
from logplex.metrics import Sample


def cooked(text: bytes, source: bytes = b"app", ps: bytes = b"web.1") -> bytes:
    """A message as the spool holds it."""
    return b"<134>1 2026-01-02T03:04:05+00:00 host %b %b - - %b" % (source, ps, text)


@define(eq=False, repr=False)
class Read:
    """
    A history that was asked for.

    :ivar events: the number of events that the follower had been told of when it was answered.
    """

    answer: Deferred[Recent]
    events: int = 0
    snapshot: Recent | None = None


@implementer(ISpool)
@define(eq=False, repr=False)
class HeldSpool:
    """
    One channel's spool. Followers are told, and reads are answered, when the test says.

    :ivar kept: numbered messages, all that ever were.
    :ivar undelivered: batches that have a number and have not reached the follower.
    :ivar told: everything the follower was told: number or ``None``, message.
    :ivar waiting: messages that came while it was away, and have no numbers yet.
    :ivar reads: joins that wait for their answer.
    :ivar asked: all joins that there ever were.
    """

    name = "held"
    replacement = None
    limit: int = 1_500
    last: int = 0
    kept: list[tuple[int | None, bytes]] = field(factory=list)
    followers: list[IFollower] = field(factory=list)
    reads: list[Read] = field(factory=list)
    undelivered: list[tuple[int, list[bytes]]] = field(factory=list)
    told: list[tuple[int | None, bytes]] = field(factory=list)
    waiting: list[bytes] = field(factory=list)
    asked: list[Read] = field(factory=list)
    holds_reads: bool = False
    is_away: bool = False

    # What tails call.

    def join(self, channel_id: str, follower: IFollower) -> Deferred[Recent]:
        if follower not in self.followers:
            self.followers.append(follower)
            if self.is_away:
                follower.interrupted()
        read = Read(Deferred())
        self.asked.append(read)
        self.reads.append(read)
        if self.is_away or not self.holds_reads:
            self.answer(read)
        return read.answer

    def leave(self, channel_id: str, follower: IFollower) -> None:
        if follower in self.followers:
            self.followers.remove(follower)
            self.undelivered.clear()

    def recent(self, channel_id: str) -> Deferred[Recent]:
        return succeed(self._recent())

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """Number them and tell of them at once."""
        self.commit(messages, keep)
        self.deliver_all()

    def forget(self, channel_id: str) -> None:
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        raise NotImplementedError

    def samples(self) -> Iterable[Sample]:
        raise NotImplementedError

    def troubles(self) -> list[str]:
        raise NotImplementedError

    # What the test calls.

    def interrupt(self) -> None:
        """Go away, and tell the followers."""
        self.is_away = True
        for follower in list(self.followers):
            follower.interrupted()

    def come_back(self, complete: bool = True) -> None:
        """Come back, tell the followers, and number what waits without telling of it again."""
        self.is_away = False
        for follower in list(self.followers):
            follower.resumed()
            if not complete:
                follower.missed()
        waiting, self.waiting = self.waiting, []
        self.commit(waiting, silent=True)

    def commit(self, messages: list[bytes], keep: bool = True, silent: bool = False) -> None:
        """
        Number messages.

        :param silent: the follower is not told of them.
        """
        first = self.last + 1
        self.last += len(messages)
        if keep:
            self.kept += list(enumerate(messages, first))
        if self.followers and not silent:
            self.undelivered.append((first, list(messages)))

    def deliver(self) -> None:
        """Tell of the oldest batch that was not told."""
        first, messages = self.undelivered.pop(0)
        self.told += list(enumerate(messages, first))
        for follower in list(self.followers):
            follower.received(first, messages)

    def deliver_all(self) -> None:
        while self.undelivered:
            self.deliver()

    def tell_unnumbered(self, messages: list[bytes]) -> None:
        """They came while the spool was away."""
        self.waiting += messages
        self.told += [(None, message) for message in messages]
        for follower in list(self.followers):
            follower.received(None, messages)

    def answer(self, read: Read, moving: bool = False) -> None:
        """
        Tell the follower everything, and give what is kept.

        :param moving: as a spool does that numbers the channel in two places.
        """
        if not self.is_away:
            self.deliver_all()
        self._answer(read, self._recent(moving))

    def lose(self, read: Read) -> None:
        """Answer as if the spool were away."""
        self._answer(read, Recent(0, [], complete=False))

    def _recent(self, moving: bool = False) -> Recent:
        if self.is_away:
            own: list[tuple[int | None, bytes]] = [(None, message) for message in self.waiting]
            return Recent(0, own[-self.limit :], complete=False)
        return Recent(self.last, self.kept[-self.limit :], moving=moving)

    def _answer(self, read: Read, recent: Recent) -> None:
        self.reads.remove(read)
        read.events = len(self.told)
        read.snapshot = recent
        read.answer.callback(recent)


_L11 = re.compile(rb"\S+ logplex\[1\]: Error L11 .* dropped (\d+) messages since \S+\.")

#: What a reader was shown: an id and a line, how many were dropped, or another notice's words.
Shown = tuple[int | None, bytes] | int | str


@define(eq=False, repr=False)
class ListAnswer:
    """
    Keeps what is written.

    :ivar is_tight: ask for a pause after everything that is written.
    :ivar is_paused: a pause was asked for; what is then written is against the rules.
    """

    is_tight: bool = False
    is_paused: bool = False
    is_closed: bool = False
    has_started: bool = False
    has_no_history: bool = False
    is_finished: bool = False
    written: list[bytes] = field(factory=list)
    producer: IPushProducer | None = None

    def history_is_away(self) -> None:
        self.has_no_history = True

    def start(self, producer: IPushProducer) -> None:
        self.has_started = True
        self.producer = producer

    def write(self, text: bytes) -> None:
        assert not self.is_finished
        assert not self.is_paused
        self.written.append(text)
        if self.is_tight:
            self.pause()

    def finish(self) -> None:
        self.is_finished = True
        self.is_closed = True

    def abort(self) -> None:
        self.is_closed = True

    def pause(self) -> None:
        if self.producer is not None:
            self.is_paused = True
            self.producer.pauseProducing()

    def resume(self) -> None:
        if self.producer is not None:
            self.is_paused = False
            self.producer.resumeProducing()

    @property
    def text(self) -> bytes:
        return b"".join(self.written)

    def lines(self) -> Iterator[Shown]:
        """Yield what a reader of plain text has seen."""
        for line in self.text.splitlines():
            yield _shown(None, line)

    def events(self) -> Iterator[Shown]:
        """Yield what a reader of events has seen, without comments."""
        for block in self.text.split(b"\n\n"):
            fields = [line.partition(b": ") for line in block.split(b"\n")]
            data = b"\n".join(value for name, _, value in fields if name == b"data")
            ids = [int(value) for name, _, value in fields if name == b"id"]
            if data:
                yield _shown(ids[0] if ids else None, data)

    def comments(self) -> list[bytes]:
        return [line[2:] for line in self.text.split(b"\n") if line.startswith(b":")]


def _shown(number: int | None, line: bytes) -> Shown:
    dropped = _L11.fullmatch(line)
    if dropped:
        return int(dropped[1])
    if b"Error L15" in line:
        return "away"
    if b"may be missing" in line:
        return "gap"
    return number, line
