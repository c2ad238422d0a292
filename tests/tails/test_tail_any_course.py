# SPDX-License-Identifier: Apache-2.0

"""
Every reader sees every message once and in order, whatever happens in between; what it loses
because it is too slow is counted, in its place.

A state machine lets messages arrive, histories be read with arbitrary delays, readers come, pause,
leave and come back, and the spool go away, in any order. It knows what each reader must have seen.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, TypeVar

from attrs import define, field
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import Recent
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.session import Session
from logplex.model.values import Channel
from logplex.settings import Limits
from logplex.tails.service import Tails
from logplex.tails.tail import Tail
from tests.doubles.interfaces import DictConfigStore
from tests.doubles.tails import HeldSpool, ListAnswer, Read, Shown, cooked

CHANNEL = Channel("app-1")
KEPT = 8
BUFFERED = 5
SOURCES = (b"app", b"heroku")


T = TypeVar("T")


def pick(data: st.DataObject, items: Sequence[T]) -> T:
    """Draw an item by its index: hypothesis prints what is drawn, with all that it holds."""
    return items[data.draw(st.integers(0, len(items) - 1))]


@define(eq=False, repr=False)
class Client:
    """
    A reader, and what it must have been shown so far.

    :ivar read: the history that was asked for.
    :ivar snapshot: the history with which it began.
    :ivar overture: the notices before the history.
    :ivar marks: later notices, each with the count of events that were told before it.
    """

    session: Session
    events: bool
    after: int | None
    answer: ListAnswer
    tail: Tail
    read: Read | None = None
    snapshot: Recent | None = None
    overture: list[Shown] = field(factory=list)
    marks: list[tuple[int, str]] = field(factory=list)
    was_slow: bool = False

    def wants(self, message: bytes) -> bool:
        return self.session.source is None or message.split(b" ", 4)[3] == self.session.source

    def shown(self) -> list[Shown]:
        return list(self.answer.events() if self.events else self.answer.lines())

    def item(self, number: int | None, message: bytes) -> Shown:
        time, source, text = (message.split(b" ")[index] for index in (1, 3, 7))
        line = b"%b %b[web.1]: %b" % (time, source, text)
        return (number if self.events else None), line

    def begins(self, is_away: bool) -> None:
        """Note that its past was answered: what was told until now is not new to it."""
        assert self.read is not None
        self.marks.clear()
        self.snapshot = self.read.snapshot
        self.overture = ["away"] if is_away else []

    def history(self) -> list[Shown]:
        assert self.snapshot is not None
        kept = self.snapshot.entries
        if self.after is not None and not self.snapshot.complete:
            entries = []
        elif self.after is None:
            entries = [entry for entry in kept if self.wants(entry[1])]
            entries = entries[max(0, len(entries) - self.session.num) :]
        else:
            entries = [
                (number, message)
                for number, message in kept
                if self.wants(message) and (number or 0) > self.after
            ]
        return [self.item(*entry) for entry in entries]

    def live(self, told: list[tuple[int | None, bytes]]) -> list[Shown]:
        assert self.snapshot is not None
        assert self.read is not None
        expected: list[Shown] = []
        marks = list(self.marks)
        for index in range(self.read.events, len(told) + 1):
            while marks and marks[0][0] == index:
                expected.append(marks.pop(0)[1])
            if index < len(told):
                number, message = told[index]
                if self.wants(message) and (number is None or number > self.snapshot.last):
                    expected.append(self.item(number, message))
        return expected

    def comments(self) -> list[bytes]:
        """Return the comments about messages that its last id cannot bring back."""
        if self.after is None or self.snapshot is None:
            return []
        if not self.snapshot.complete:
            return [b"some messages may be missing"]
        kept = sum((number or 0) > self.after for number, _ in self.snapshot.entries)
        gone = self.snapshot.last - self.after - kept
        if gone:
            return [b"%d messages are gone" % gone]
        return [b"some messages may be missing"] if self.snapshot.moving else []

    def last_id(self) -> int | None:
        ids = [each[0] for each in self.shown() if isinstance(each, tuple) and each[0]]
        return ids[-1] if ids else self.after


class Tailing(RuleBasedStateMachine):
    """See the module."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.clock.advance(1_000_000)
        self.counters = Counters()
        self.spool = HeldSpool(limit=KEPT, holds_reads=True)
        limits = Live(
            Limits(tail_buffer_messages=BUFFERED, tail_history_bytes=3_000, tail_reader_bytes=450)
        )
        store = DictConfigStore(self.clock)
        store.put_session("session", b"{}", 1e9)
        self.tails = Tails(self.spool, store, self.clock, limits, self.counters)
        self.clients: list[Client] = []
        self.serial = 0
        self.has_lost = False
        self.failures: list[Failure] = []

    def messages(self, sources: list[bytes]) -> list[bytes]:
        made = []
        for source in sources:
            self.serial += 1
            made.append(cooked(b"m%d" % self.serial, source))
        return made

    batches = st.lists(st.sampled_from(SOURCES), min_size=1, max_size=7)

    # Messages.

    @rule(sources=batches, keep=st.sampled_from([True, True, False]), at_once=st.booleans())
    def append(self, sources: list[bytes], keep: bool, at_once: bool) -> None:
        messages = self.messages(sources)
        if self.spool.is_away:
            self.spool.tell_unnumbered(messages)
            return
        self.spool.commit(messages, keep)
        if at_once:
            self.spool.deliver_all()
            self.clock.advance(0.02)

    @precondition(lambda self: self.spool.undelivered and not self.spool.is_away)
    @rule()
    def deliver(self) -> None:
        self.spool.deliver()

    @rule(seconds=st.sampled_from([0.001, 0.02, 1.0, 20.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    # Readers.

    @rule(
        source=st.sampled_from([None, *SOURCES]),
        events=st.booleans(),
        num=st.integers(0, KEPT + 2),
        is_tight=st.booleans(),
        at_once=st.booleans(),
    )
    def open(
        self, source: bytes | None, events: bool, num: int, is_tight: bool, at_once: bool
    ) -> None:
        self.join(Session(CHANNEL.id, num, True, source), events, None, is_tight)
        if at_once:
            self.answer_everything()

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), is_tight=st.booleans(), at_once=st.booleans())
    def cut(self, data: st.DataObject, is_tight: bool, at_once: bool) -> None:
        """Cut a reader's connection; it comes back for what it has not seen."""
        client = pick(data, self.clients)
        self.remove(client)
        after = client.last_id() if client.events else None
        self.join(client.session, client.events, after, is_tight)
        if at_once:
            self.answer_everything()

    def join(self, session: Session, events: bool, after: int | None, is_tight: bool) -> None:
        answer = ListAnswer(is_tight)
        tail = self.tails.tail(session, events, answer)
        client = Client(session, events, after, answer, tail, was_slow=is_tight)
        self.clients.append(client)
        asked = len(self.spool.asked)
        begun = Deferred.fromCoroutine(
            self.tails.begin(
                tail, CHANNEL, session, after, session_id="session", may_read=lambda: True
            )
        )
        begun.addErrback(self.failures.append)
        (client.read,) = self.spool.asked[asked:]
        if client.read not in self.spool.reads:
            # It was answered at once.
            client.begins(self.spool.is_away)

    @precondition(lambda self: self.spool.reads)
    @rule(data=st.data(), moving=st.booleans())
    def answer_read(self, data: st.DataObject, moving: bool) -> None:
        """
        :param moving: the channel is numbered in two places; it is so for this one answer.
        """
        self.answer(pick(data, self.spool.reads), partial(self.spool.answer, moving=moving))

    def answer_everything(self) -> None:
        while self.spool.reads:
            self.answer(self.spool.reads[0], self.spool.answer)

    def answer(self, read: Read, how: Callable[[Read], None]) -> None:
        how(read)
        for client in self.clients:
            if client.read is read:
                client.begins(self.spool.is_away)

    @precondition(lambda self: self.clients)
    @rule(data=st.data(), is_tight=st.booleans())
    def pause(self, data: st.DataObject, is_tight: bool) -> None:
        client = pick(data, self.clients)
        client.was_slow = True
        client.answer.is_tight = is_tight
        client.answer.pause()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def resume(self, data: st.DataObject) -> None:
        pick(data, self.clients).answer.resume()

    @precondition(lambda self: self.clients)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.remove(pick(data, self.clients))

    def remove(self, client: Client) -> None:
        self.clients.remove(client)
        client.tail.lost()
        if client.snapshot is not None:
            self.check(client, whole=False)

    # The spool goes away and comes back.

    @precondition(lambda self: self.spool.followers and not self.spool.is_away)
    @rule(loses=st.booleans(), tells_first=st.booleans(), fails=st.booleans())
    def interrupt(self, loses: bool, tells_first: bool, fails: bool) -> None:
        """Histories that were asked for are lost before or after that is told, or still come."""
        if loses:
            self.has_lost = bool(self.spool.undelivered)
            self.spool.undelivered.clear()
        else:
            self.spool.deliver_all()
        asked = list(self.spool.reads) if fails else []
        if tells_first:
            self.mark("away")
            self.spool.interrupt()
        for read in asked:
            self.answer(read, self.spool.lose)
        if not tells_first:
            self.mark("away")
            self.spool.interrupt()

    @precondition(lambda self: self.spool.is_away)
    @rule()
    def come_to(self) -> None:
        complete = not self.has_lost
        self.has_lost = False
        if not complete:
            self.mark("gap")
        self.spool.come_back(complete)

    def mark(self, notice: str) -> None:
        for client in self.clients:
            if client.read is not None:
                client.marks.append((len(self.spool.told), notice))

    # What must be.

    def teardown(self) -> None:
        if self.spool.is_away:
            self.come_to()
        self.answer_everything()
        for client in self.clients:
            client.answer.is_tight = False
            client.answer.resume()
        self.spool.deliver_all()
        self.clock.advance(1)
        for client in self.clients:
            self.check(client, whole=True)
            client.tail.lost()
        assert not self.failures
        assert not self.spool.followers
        self.clock.pump([20.0, 20.0])
        assert not self.clock.getDelayedCalls()

    def check(self, client: Client, whole: bool) -> None:
        """
        Compare what a client was shown with what he must have been shown.

        :param whole: whether he has been shown everything by now.
        """
        expected = client.overture + client.history() + client.live(self.spool.told)
        shown = client.shown()
        place = 0
        for each in shown:
            if isinstance(each, int):
                assert each > 0
                while each:
                    each -= not isinstance(expected[place], str)
                    place += 1
                continue
            # Notices take room in the buffer too, but nobody counts them when they are lost.
            while client.was_slow and expected[place] != each and isinstance(expected[place], str):
                place += 1
            assert expected[place] == each, (place, expected, shown)
            place += 1
        if whole:
            rest = [each for each in expected[place:] if not isinstance(each, str)]
            assert not rest, (rest, expected, shown)
        if client.events:
            comments = [comment for comment in client.answer.comments() if comment]
            assert comments == client.comments(), comments
        assert client.snapshot is not None
        assert client.answer.has_no_history is not client.snapshot.complete


class ExactTests(SynchronousTestCase):
    def test_whatever_happens(self) -> None:
        machine: Any = Tailing
        run_state_machine_as_test(
            machine,
            settings=settings(
                deadline=None,
                max_examples=100,
                stateful_step_count=60,
                suppress_health_check=list(HealthCheck),
            ),
        )
