"""An HTTP drain without a network, and what its receiver reads and says."""

from __future__ import annotations

from datetime import UTC, datetime

import h11
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.delivery.courier import Courier
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.linger import Linger
from logplex.drains.delivery.record import Record
from logplex.drains.kinds.http import HttpCourier, http_pace
from logplex.metrics import Counters
from logplex.model.destination import HttpDestination, parse_destination
from logplex.settings import DrainSettings
from tests.doubles.receivers import Link, MiddleRandom, ScriptedEndpoint

#: Sunday, 22 November 2026, 16:00 UTC.
NOW = datetime(2026, 11, 22, 16, tzinfo=UTC).timestamp()

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d Status" % status, b"Content-Length: 0", *headers, b"", b""]
    return b"\r\n".join(lines)


def message(number: int, size: int = 0) -> bytes:
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 app web.1 id - number %d%b\n" % (
        number,
        b"x" * size,
    )


def frame(number: int) -> bytes:
    body = b"<190>1 2026-11-22T15:59:59+00:00 host app web.1 - number %d\n" % number
    return b"%d %b" % (len(body), body)


class Request:
    """What a receiver read."""

    def __init__(self, octets: bytes) -> None:
        parser = h11.Connection(h11.SERVER)
        parser.receive_data(octets)
        head = parser.next_event()
        assert isinstance(head, h11.Request), octets
        self.head = head
        self.headers = dict(head.headers)
        self.body = b""
        while isinstance(event := parser.next_event(), h11.Data):
            self.body += bytes(event.data)
        assert isinstance(event, h11.EndOfMessage), event

    @property
    def frame_id(self) -> bytes:
        return self.headers[b"logplex-frame-id"]

    @property
    def count(self) -> int:
        return int(self.headers[b"logplex-msg-count"])


class HttpCase(SynchronousTestCase):
    """A drain with everything but a network."""

    url = "http://receiver.example/logs?key=a"
    random: MiddleRandom = MiddleRandom(1)
    options = DrainSettings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.counters = Counters()
        self.losses: list[int] = []
        self.buffer = Buffer(self.clock, self.counters, 1_024, self.losses.append)
        self.endpoint = ScriptedEndpoint()
        self.record = Record()
        destination = parse_destination(self.url)
        assert isinstance(destination, HttpDestination)
        self.courier = HttpCourier(
            destination,
            "d.0815",
            self.buffer,
            self.record,
            self.options,
            self.endpoint,
            self.clock,
            self.random,
        )
        courier: Courier = self.courier
        self.life = Lifecycle(
            courier,
            self.buffer,
            http_pace(self.options, Linger(0.05, 0.05)),
            self.clock,
            self.random,
        )
        self.life.start()
        self.pushed = 0

    def tearDown(self) -> None:
        buffer = self.buffer
        self.assertEqual(buffer.received, buffer.delivered + buffer.dropped + buffer.buffered)

    def push(self, count: int = 1, size: int = 0) -> None:
        first = self.pushed + 1
        self.pushed += count
        self.buffer.push([message(number, size) for number in range(first, first + count)])

    def connected(self, count: int = 1) -> Link:
        """A receiver that has been sent a request."""
        self.push(count)
        self.clock.advance(0)
        return self.endpoint.accept()

    def next_link(self, after_s: float = 0.0) -> Link:
        """The next connection, which is made after so long and no earlier."""
        before = len(self.endpoint.attempts)
        if after_s:
            self.clock.advance(after_s - 0.001)
            self.assertEqual(len(self.endpoint.attempts), before)
            self.clock.advance(0.0011)
        else:
            self.clock.advance(0)
        self.assertEqual(len(self.endpoint.attempts), before + 1)
        return self.endpoint.accept()

    def assert_counts(self, delivered: int, dropped: int) -> None:
        self.assertEqual((self.buffer.delivered, self.buffer.dropped), (delivered, dropped))
