"""Stand-ins for what tails stand between: a spool that answers when the test says, and readers."""

from __future__ import annotations

import re
from collections.abc import Iterator

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from zope.interface import implementer

from logplex.interfaces import IFollower, ISpool, Recent


def cooked(text: bytes, source: bytes = b"app", ps: bytes = b"web.1") -> bytes:
    """A message as the spool holds it."""
    return b"<134>1 2026-01-02T03:04:05+00:00 host %b %b - - %b" % (source, ps, text)


@define(eq=False, repr=False)
class Read:
    """
    A history that was asked for.

    :ivar events: how many events the follower had been told of when it was asked for.
    :ivar turn: how often it had been told that the spool went or came.
    """

    answer: Deferred[Recent]
    events: int
    turn: int
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
    :ivar asked: all histories that were ever asked for.
    :ivar turns: how often the follower was told that the spool went or came.
    """

    limit: int = 1_500
    last: int = 0
    kept: list[tuple[int | None, bytes]] = field(factory=list)
    followers: list[IFollower] = field(factory=list)
    follows: list[tuple[IFollower, Deferred[None]]] = field(factory=list)
    reads: list[Read] = field(factory=list)
    undelivered: list[tuple[int, list[bytes]]] = field(factory=list)
    told: list[tuple[int | None, bytes]] = field(factory=list)
    waiting: list[bytes] = field(factory=list)
    asked: list[Read] = field(factory=list)
    turns: int = 0
    holds_follows: bool = False
    holds_reads: bool = False
    is_away: bool = False

    # What tails call.

    def follow(self, channel_id: str, follower: IFollower) -> Deferred[None]:
        answer: Deferred[None] = Deferred()
        self.follows.append((follower, answer))
        if not self.holds_follows:
            self.answer_follows()
        return answer

    def unfollow(self, channel_id: str, follower: IFollower) -> None:
        self.follows = [each for each in self.follows if each[0] is not follower]
        if follower in self.followers:
            self.followers.remove(follower)
            self.undelivered.clear()

    def recent(self, channel_id: str) -> Deferred[Recent]:
        read = Read(Deferred(), len(self.told), self.turns)
        self.asked.append(read)
        self.reads.append(read)
        if self.is_away:
            own: list[tuple[int | None, bytes]] = [(None, message) for message in self.waiting]
            read.snapshot = Recent(0, own[-self.limit :], complete=False)
            self.answer(read)
        elif not self.holds_reads:
            self.take(read)
            self.answer(read)
        return read.answer

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """Number them and tell of them at once."""
        self.commit(messages, keep)
        self.deliver_all()

    def forget(self, channel_id: str) -> None:
        raise NotImplementedError

    def close(self) -> Deferred[None]:
        raise NotImplementedError

    # What the test calls.

    def answer_follows(self) -> None:
        follows, self.follows = self.follows, []
        for follower, answer in follows:
            self.followers.append(follower)
            if self.is_away:
                self.turns += 1
                follower.interrupted()
            answer.callback(None)

    def interrupt(self) -> None:
        """Tell the followers; what is asked for from now on is answered accordingly."""
        self.is_away = True
        self.turns += 1
        for follower in list(self.followers):
            follower.interrupted()

    def come_back(self, complete: bool = True) -> None:
        """Tell the followers, and number what waits without telling them again."""
        self.is_away = False
        self.turns += 1
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

    def take(self, read: Read) -> None:
        """The moment of which the answer will tell."""
        read.snapshot = Recent(self.last, self.kept[-self.limit :])

    def answer_of_now(self, read: Read) -> None:
        """Answer as a spool does that numbers the channel in two places."""
        self.deliver_all()
        read.snapshot = Recent(self.last, self.kept[-self.limit :], moving=True)
        self.answer(read)

    def lose(self, read: Read) -> None:
        """The spool goes away before it answers."""
        read.snapshot = Recent(0, [], complete=False)
        self.answer(read)

    def answer(self, read: Read) -> None:
        assert read.snapshot is not None
        self.reads.remove(read)
        read.answer.callback(read.snapshot)


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
        """What a reader of plain text has seen."""
        for line in self.text.splitlines():
            yield _shown(None, line)

    def events(self) -> Iterator[Shown]:
        """What a reader of events has seen, comments left out."""
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
