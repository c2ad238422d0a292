# SPDX-License-Identifier: Apache-2.0

"""
The journal in any order of events: nothing is missing, nothing has two contents, losses are exact.
"""

from __future__ import annotations

from shutil import rmtree
from tempfile import mkdtemp

from attrs import define, field
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule, run_state_machine_as_test
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.journal.backlog import Backlog
from logplex.journal.journal import Journal
from logplex.journal.values import JournalBounds, Row
from tests.doubles.journal import Disk, copy_of_crashed, opened_journal

CHANNELS = ("app", "web")
#: The drains of the test, each with its channel; two share one.
DRAINS = {"1": "app", "2": "app", "3": "web"}
#: Small enough that backlogs give way in many courses.
BOUNDS = JournalBounds(max_bytes=150_000, keep_free_bytes=0)


@define(eq=False)
class Drain:
    """
    A reader, and everything that it was ever shown.

    :ivar seen: content by row and place: whatever comes again must be the same.
    :ivar flight: rows under way, as they were claimed.
    :ivar unsure: of ``seen``, what was under way at a crash, or was released before it was settled.
        It comes again, or is given up.
    """

    backlog: Backlog | None = None
    seen: dict[tuple[int, int], bytes] = field(factory=dict)
    flight: list[Row] = field(factory=list)
    unsure: set[tuple[int, int]] = field(factory=set)

    def rows_came(self) -> None:
        """See :class:`logplex.journal.backlog.BacklogReader`."""

    def gave_up(self, count: int, since_s: float) -> None:
        """See :class:`logplex.journal.backlog.BacklogReader`."""
        assert count > 0


def result(deferred: Deferred[list[Row]]) -> list[Row] | None:
    """Return what has fired, or ``None`` after a failure."""
    answers: list[list[Row]] = []
    deferred.addCallbacks(answers.append, lambda failure: None)
    return answers[0] if answers else None


def keys(rows: list[Row]) -> set[tuple[int, int]]:
    """The row and place of each message."""
    return {(row.number, place) for row in rows for place in range(len(row.messages))}


class AnyCourse(RuleBasedStateMachine):
    """Messages come, rows are claimed and settled, the disk fills up, the process is killed."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = mkdtemp()
        self.files = 0
        self.clock = Clock()
        self.clock.advance(1_700_000_000)
        self.disk = Disk()
        self.number = 0
        #: What each channel has on the disk for sure, since the last start everything it was given.
        self.given: dict[str, list[bytes]] = {channel: [] for channel in CHANNELS}
        self.drains = {name: Drain() for name in DRAINS}
        self.journal = self.start()

    def start(self) -> Journal:
        """Open the present file, and give each drain its backlog."""
        journal = opened_journal(f"{self.folder}/{self.files}", self.clock, self.disk, BOUNDS)
        for name, drain in self.drains.items():
            drain.flight = []
            drain.backlog = journal.backlog(name, DRAINS[name], drain)
        journal.end_others()
        return journal

    def new_messages(self, count: int, size_bytes: int) -> list[bytes]:
        """Messages that differ from all others."""
        self.number += count
        return [
            b"%d " % number + b"x" * size_bytes
            for number in range(self.number - count, self.number)
        ]

    @rule(channel=st.sampled_from(CHANNELS), count=st.integers(1, 30), size=st.integers(0, 3_000))
    def append(self, channel: str, count: int, size: int) -> None:
        messages = self.new_messages(count, size)
        self.given[channel] += messages
        self.journal.append(channel, messages)

    @rule(count=st.integers(1, 30), both=st.booleans())
    def take(self, count: int, both: bool) -> None:
        pieces = {channel: self.new_messages(count, 50) for channel in CHANNELS[: 1 + both]}
        taken: list[object] = []
        self.journal.take(pieces).addCallbacks(taken.append, lambda failure: None)
        if taken:
            for channel, messages in pieces.items():
                self.given[channel] += messages
        else:
            assert self.disk.is_full or self.journal.trouble

    @rule()
    def tick(self) -> None:
        self.clock.advance(1.0)

    @rule(full=st.booleans())
    def fill(self, full: bool) -> None:
        self.disk.is_full = full

    @rule(name=st.sampled_from(sorted(DRAINS)), messages=st.integers(1, 60))
    def claim(self, name: str, messages: int) -> None:
        drain = self.drains[name]
        assert drain.backlog is not None
        if drain.flight:
            return
        rows = result(drain.backlog.read(messages))
        assert rows is not None
        if not rows:
            return
        claimed: list[object] = []
        drain.backlog.claim(rows).addCallbacks(claimed.append, lambda failure: None)
        if claimed:
            drain.flight = rows
            self.show(drain, rows)

    def show(self, drain: Drain, rows: list[Row]) -> None:
        """The receiver gets rows; maybe once more, and then the same."""
        for row in rows:
            for place, message in enumerate(row.messages):
                assert drain.seen.setdefault((row.number, place), message) == message

    @rule(name=st.sampled_from(sorted(DRAINS)), whole=st.booleans())
    def settle(self, name: str, whole: bool) -> None:
        drain = self.drains[name]
        backlog = drain.backlog
        assert backlog is not None
        if not drain.flight:
            return
        rows, drain.flight = drain.flight, []
        drain.unsure -= keys(rows if whole else rows[:1])
        drain.unsure |= keys([] if whole else rows[1:])
        for row in rows if whole else rows[:1]:
            backlog.advance(row, len(row.messages))
        backlog.release()

    @rule()
    def kill(self) -> None:
        # What the last tick held would be gone, and nothing else: so let it end.
        self.disk.is_full = False
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        for drain in self.drains.values():
            drain.unsure |= keys(drain.flight)
        self.files += 1
        copy_of_crashed(f"{self.folder}/{self.files - 1}", f"{self.folder}/{self.files}")
        self.journal = self.start()

    @invariant()
    def counts_agree(self) -> None:
        for name, drain in self.drains.items():
            assert drain.backlog is not None
            assert drain.backlog.messages >= 0, name
            assert drain.backlog.bytes >= 0, name

    def teardown(self) -> None:
        self.disk.is_full = False
        self.clock.advance(1.0)
        self.clock.advance(1.0)
        for name, drain in self.drains.items():
            assert drain.backlog is not None
            self.settle(name, whole=True)
            while True:
                rows = result(drain.backlog.read())
                assert rows is not None
                if not rows:
                    break
                done: list[object] = []
                drain.backlog.claim(rows).addCallback(done.append)
                assert done
                drain.flight = rows
                self.show(drain, rows)
                self.settle(name, whole=True)
            assert drain.backlog.is_empty
            given = self.given[DRAINS[name]]
            seen = [drain.seen[key] for key in sorted(drain.seen)]
            assert len(set(seen)) == len(seen)
            places = {message: place for place, message in enumerate(given)}
            order = [places[message] for message in seen]
            assert order == sorted(order)
            lost = drain.backlog.position.lost_count
            assert len(seen) - len(drain.unsure) + lost <= len(given) <= len(seen) + lost, name
        Deferred.fromCoroutine(self.journal.close())
        rmtree(self.folder)


class AnyCourseTests(SynchronousTestCase):
    def test_any_course(self) -> None:
        run_state_machine_as_test(
            AnyCourse, settings=settings(max_examples=40, stateful_step_count=40, deadline=None)
        )
