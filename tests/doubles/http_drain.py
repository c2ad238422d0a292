# SPDX-License-Identifier: Apache-2.0

"""An HTTP drain without a network, and what its receiver reads and says."""

from __future__ import annotations

from typing import Any

import h11

from logplex.drains.delivery.courier import Courier, Reports
from logplex.drains.delivery.pace import Linger, Pace
from logplex.drains.kinds.http import HttpCourier, http_pace
from logplex.model.destination import HttpDestination, parse_destination
from tests.doubles.receivers import Link
from tests.doubles.stream_drain import StreamDrainCase

OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
NO_CONTENT = b"HTTP/1.1 204 No Content\r\n\r\n"


def answer(status: int, *headers: bytes) -> bytes:
    lines = [b"HTTP/1.1 %d Status" % status, b"Content-Length: 0", *headers, b"", b""]
    return b"\r\n".join(lines)


def frame(number: int) -> bytes:
    body = b"<190>1 2026-11-22T15:59:59+00:00 host app web.1 - number %d\n" % number
    return b"%d %b" % (len(body), body)


class Request:
    """One request, as its receiver reads it."""

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


class HttpCase(StreamDrainCase):
    """A drain with everything but a network."""

    message_end = b"\n"
    url = "http://receiver.example/logs?key=a"

    def make_courier(self, reports: Reports) -> tuple[Courier[Any], Pace]:
        destination = parse_destination(self.url)
        assert isinstance(destination, HttpDestination)
        self.courier = HttpCourier(
            destination=destination,
            drain_token="d.0815",
            buffer=self.buffer,
            outcome=self.outcome,
            reports=reports,
            settings=self.options,
            endpoint=self.endpoint,
            clock=self.clock,
            random=self.random,
        )
        return self.courier, http_pace(self.options, Linger(0.05, 0.05))

    def next_link(self, after_s: float = 0.0) -> Link:
        """Return the next connection, which is made after this time and no earlier."""
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
