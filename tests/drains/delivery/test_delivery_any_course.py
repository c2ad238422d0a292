# SPDX-License-Identifier: Apache-2.0

"""A drain counts right and never gets stuck, in any course of events."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from twisted.internet.error import ConnectionLost
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier, Outcome, Reports
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.delivery.states import Phase
from logplex.drains.kinds.http import HttpCourier, http_pace
from logplex.drains.kinds.syslog import SyslogCourier, syslog_pace
from logplex.metrics import Counters
from logplex.model.destination import HttpDestination, SyslogDestination, parse_destination
from logplex.settings import DrainSettings
from tests.doubles.http_drain import NO_CONTENT, OK, answer
from tests.doubles.receivers import Link, MiddleRandom, ScriptedEndpoint

OPTIONS = DrainSettings(buffer_messages=20, http_batch_messages=5)

#: So many seconds with a receiver that is well, and everything has been delivered.
LONG_S = 400


class AnyCourse(RuleBasedStateMachine):
    """One drain, and a receiver that does as it likes."""

    def __init__(self) -> None:
        super().__init__()
        self.clock = Clock()
        self.buffer = Buffer(self.clock, Counters(), OPTIONS.buffer_messages, lambda _: None)
        self.endpoint = ScriptedEndpoint()
        self.links: list[Link] = []
        self.begin()
        self.next = 0
        self.ending = False

    def courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        raise NotImplementedError

    def begin(self) -> None:
        self.life = Lifecycle(self.courier, self.buffer, self.clock, MiddleRandom(1))
        self.buffer.wake = self.life.offer

    @property
    def open_links(self) -> list[Link]:
        return [link for link in self.links if not link.closed]

    @property
    def attempted(self) -> bool:
        return bool(self.endpoint.attempts) and not self.endpoint.attempts[-1].result.called

    @rule(count=st.integers(1, 12))
    def push(self, count: int) -> None:
        self.buffer.push(
            [b"<190>1 now host app web.1 - - %d\n" % (self.next + each) for each in range(count)]
        )
        self.next += count

    @rule(seconds=st.sampled_from([0.0, 0.05, 0.3, 1.0, 4.0, 5.0, 60.0, 300.0]))
    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)

    @precondition(lambda self: self.attempted)
    @rule()
    def accept(self) -> None:
        self.links.append(self.endpoint.accept())

    @precondition(lambda self: self.attempted)
    @rule()
    def refuse(self) -> None:
        self.endpoint.refuse()

    @precondition(lambda self: self.links)
    @rule(data=st.data())
    def lose(self, data: st.DataObject) -> None:
        """The network ends a connection, or the peer agrees to the drain's closing it."""
        link = data.draw(st.sampled_from(self.links))
        self.links.remove(link)
        link.lose(ConnectionLost())

    @precondition(lambda self: not self.ending)
    @rule()
    def stop(self) -> None:
        self.ending = True
        self.life.stop(5).addCallback(self.ended)

    @precondition(lambda self: not self.ending)
    @rule()
    def move(self) -> None:
        self.life.move()

    def ended(self, _: int) -> None:
        """Another lifecycle begins with the same buffer."""
        assert self.life.phase is Phase.STOPPED
        assert not self.open_links
        assert self.buffer.in_flight == 0
        self.ending = False
        self.begin()

    def serve(self) -> None:
        """The receiver does what it should."""
        raise NotImplementedError

    @invariant()
    def counts(self) -> None:
        buffer = self.buffer
        assert buffer.received == self.next
        assert buffer.received == buffer.delivered + buffer.dropped + buffer.buffered
        assert len(buffer.messages) <= buffer.limit <= OPTIONS.buffer_messages

    @invariant()
    def one_connection(self) -> None:
        assert len(self.open_links) <= 1

    def teardown(self) -> None:
        """A receiver that is well gets everything in the end."""
        for _ in range(LONG_S):
            if self.attempted:
                self.accept()
            self.serve()
            self.clock.advance(1)
        assert self.buffer.buffered == 0, self.life.phase
        self.counts()


class AnyHttpCourse(AnyCourse):
    def courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        destination = parse_destination("http://receiver.example")
        assert isinstance(destination, HttpDestination)
        courier = HttpCourier(
            destination=destination,
            drain_token="d.1",
            buffer=self.buffer,
            outcome=Outcome(),
            reports=reports,
            settings=OPTIONS,
            endpoint=self.endpoint,
            clock=self.clock,
            random=MiddleRandom(1),
        )
        return courier, http_pace(OPTIONS, Linger(OPTIONS.linger_s, OPTIONS.linger_max_s))

    @precondition(lambda self: self.open_links)
    @rule(
        said=st.sampled_from(
            [
                OK,
                NO_CONTENT,
                answer(404),
                answer(413),
                answer(503),
                answer(429, b"Retry-After: 7"),
                answer(200, b"Connection: close"),
                b"HTTP/1.1 200 OK\r\n\r\n",
                b"HTTP/1.1 100 Continue\r\n\r\n",
                b"HTTP/1.1 2",
                b"garbage\r\n\r\n",
            ]
        )
    )
    def say(self, said: bytes) -> None:
        self.open_links[0].say(said)

    def serve(self) -> None:
        for link in self.open_links:
            while not link.closed and link.received():
                link.say(OK)


class AnySyslogCourse(AnyCourse):
    def courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        destination = parse_destination("syslog://receiver.example")
        assert isinstance(destination, SyslogDestination)
        outcome = Outcome()
        courier = SyslogCourier(
            destination=destination,
            drain_token=b"d.1",
            buffer=self.buffer,
            backoff=Backoff(OPTIONS, outcome, self.clock, MiddleRandom(1)),
            reports=reports,
            settings=OPTIONS,
            endpoint=self.endpoint,
            clock=self.clock,
        )
        return courier, syslog_pace(OPTIONS, Linger(OPTIONS.linger_s, OPTIONS.linger_max_s))

    @precondition(lambda self: self.open_links)
    @rule()
    def take(self) -> None:
        [link] = self.open_links
        if link.transport.producer is not None:
            link.transport.producer.resumeProducing()

    def serve(self) -> None:
        for link in self.open_links:
            while not link.closed and link.received():
                link.transport.producer.resumeProducing()


class AnyCourseTests(SynchronousTestCase):
    """Hypothesis looks for a course of events that ends badly."""

    settings = settings(
        deadline=None,
        max_examples=60,
        stateful_step_count=30,
        suppress_health_check=list(HealthCheck),
    )

    def test_http(self) -> None:
        run_state_machine_as_test(AnyHttpCourse, settings=self.settings)

    def test_syslog(self) -> None:
        run_state_machine_as_test(AnySyslogCourse, settings=self.settings)
