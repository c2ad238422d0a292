# SPDX-License-Identifier: Apache-2.0

"""A node's sessions, in memory: a real site over string transports, the embedded spool, a clock."""

from __future__ import annotations

import json
from typing import Any

from attrs import frozen
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransportWithDisconnection
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request

from logplex.interfaces import ISpool
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import Channel, Delete, Put
from logplex.routing.registry import Registry
from logplex.settings import Limits, Spool, Urls
from logplex.spool.memory import MemorySpool
from logplex.tails.page import Sessions
from logplex.tails.service import Tails
from logplex.web import Bounds, Site
from tests.doubles.interfaces import DictConfigStore
from tests.doubles.tails import cooked

SESSION = "01234567-89ab-cdef-0123-456789abcdef"
NOW = 1_800_000_000
NOW_TEXT = b"2027-01-15T08:00:00.000000+00:00"


class Root(Resource):
    """``/sessions/:uuid`` and ``/v2/canary-fetch/:uuid``."""

    isLeaf = True

    def __init__(self, sessions: Sessions) -> None:
        super().__init__()
        self.sessions = sessions

    def render(self, request: Request) -> Any:
        *_, kind, session_id = request.path.decode().split("/")
        return self.sessions.page(session_id, tail=kind == "sessions").render(request)


@frozen
class Answer:
    """The answer that came over a connection."""

    status: int
    headers: dict[bytes, bytes]
    body: bytes
    is_whole: bool


class Connection:
    """One client."""

    def __init__(self, site: Site) -> None:
        self.protocol: Any = site.buildProtocol(None)
        self.transport = StringTransportWithDisconnection()
        self.transport.protocol = self.protocol
        self.protocol.makeConnection(self.transport)

    def send(self, request: bytes) -> None:
        self.protocol.dataReceived(request)

    def leave(self) -> None:
        """The client closes the connection."""
        self.transport.connected = False
        self.protocol.connectionLost(Failure(ConnectionDone()))

    def pause(self) -> None:
        """The client does not read, and its transport is full."""
        self._producer.pauseProducing()

    def resume(self) -> None:
        """It reads again."""
        self._producer.resumeProducing()

    @property
    def _producer(self) -> Any:
        return self.transport.producer

    @property
    def is_closed(self) -> bool:
        return not self.transport.connected

    def answer(self) -> Answer:
        head, _, rest = self.transport.value().partition(b"\r\n\r\n")
        status_line, *lines = head.split(b"\r\n")
        fields = [line.split(b": ", 1) for line in lines]
        headers = {name.lower(): value for name, value in fields}
        assert len(headers) == len(fields), "a header came twice"
        if headers.get(b"transfer-encoding") == b"chunked":
            body, is_whole = _unchunked(rest)
        else:
            body, is_whole = rest, self.is_closed
        return Answer(int(status_line.split(b" ")[1]), headers, body, is_whole)

    @property
    def body(self) -> bytes:
        return self.answer().body


class SlowConnection(Connection):
    """A client whose transport asks for a pause after each write."""

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        write = self.transport.write

        def full(data: bytes) -> None:
            write(data)
            self.pause()

        self.transport.write = full  # type: ignore[method-assign]
        self.transport.writeSequence = (  # type: ignore[method-assign]
            lambda parts: full(b"".join(parts))
        )


def _unchunked(rest: bytes) -> tuple[bytes, bool]:
    chunks = []
    while rest:
        size, _, rest = rest.partition(b"\r\n")
        length = int(size, 16)
        chunks.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n"
        rest = rest[length + 2 :]
        if not length:
            assert not rest, "something follows the end"
            return b"".join(chunks), True
    return b"".join(chunks), False


class SessionNode:
    """
    A channel ``app-1``, its spool, and everything that shows it.

    :param spool: instead of the embedded one.
    :param store: instead of one of its own; it brings the clock along.
    """

    def __init__(
        self,
        spool: ISpool | None = None,
        limits: Live[Limits] | None = None,
        cors_origins: tuple[str, ...] = (),
        store: DictConfigStore | None = None,
    ) -> None:
        self.clock = Clock()
        if store is not None and isinstance(store.clock, Clock):
            self.clock = store.clock
        else:
            self.clock.advance(NOW)
        self.counters = Counters()
        self.rods = Live(Rods())
        self.store = store or DictConfigStore(self.clock)
        self.registry = Registry()
        self.registry.loaded([Channel("app-1")])
        self.spool = spool or MemorySpool(Spool(), self.clock, self.counters)
        self.tails = Tails(
            self.spool, self.store, self.clock, limits or Live(Limits()), self.counters
        )
        self.registry.observe_channels(self.tails)
        urls = Urls(cors_origins=cors_origins)
        self.sessions = Sessions(self.store, self.registry, self.rods, self.tails, urls)
        self.site = Site(
            Root(self.sessions),
            admit=lambda request: None,
            bounds=lambda: Bounds(1_000, 1_000, 60.0),
            clock=self.clock,
        )

    def flag(self, *flags: str) -> None:
        self.registry.changed([Put(Channel("app-1", "", frozenset(flags)))])

    def delete(self) -> None:
        self.registry.changed([Delete(Channel, "app-1")])

    def put_session(self, lifetime_s: float = 360.0, **fields: Any) -> None:
        body = json.dumps({"channel_id": "app-1", **fields})
        self.store.put_session(SESSION, body.encode(), lifetime_s)

    def append(self, *texts: bytes, source: bytes = b"app", ps: bytes = b"web.1") -> None:
        self.spool.append("app-1", [cooked(text, source, ps) for text in texts])

    def get(
        self,
        *headers: bytes,
        path: bytes = b"/sessions/" + SESSION.encode(),
        method: bytes = b"GET",
        version: bytes = b"HTTP/1.1",
        connection: Connection | None = None,
    ) -> Connection:
        """A request, on a connection of its own."""
        connection = connection or Connection(self.site)
        lines = [b"%b %b %b" % (method, path, version), b"Host: localhost", *headers]
        connection.send(b"\r\n".join(lines) + b"\r\n\r\n")
        return connection

    def events(self, *headers: bytes) -> Connection:
        return self.get(b"Accept: text/event-stream", *headers)

    def open(self, **fields: Any) -> Connection:
        """Make a session and read it as plain text."""
        self.put_session(**fields)
        return self.get()


def line(text: bytes, source: bytes = b"app", ps: bytes = b"web.1") -> bytes:
    """Return the line that a reader sees of a message of :meth:`SessionNode.append`."""
    return b"2026-01-02T03:04:05+00:00 %b[%b]: %b\n" % (source, ps, text)
