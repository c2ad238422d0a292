# SPDX-License-Identifier: Apache-2.0

"""
The HTTP resource of a session (``GET /sessions/:uuid``, ``GET /v2/canary-fetch/:uuid``), and its
open answer. A client that knows the URL may read the session.
"""

from __future__ import annotations

import re
import socket
from collections.abc import Callable, Sequence
from typing import Any

import attrs
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.protocols.policies import ProtocolWrapper
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from logplex.access.owners import Owner, owner_key, parse_owner
from logplex.interfaces import IConfigStore, StoreAway
from logplex.live import Live
from logplex.model.rods import Rods
from logplex.model.session import BadSession, Session, is_session_id, parse_session
from logplex.model.values import NO_REDIS, Channel
from logplex.routing.registry import Registry
from logplex.settings import Urls
from logplex.tails.group import Reader
from logplex.tails.service import Tails
from logplex.tails.view import event_id

_log = Logger()

#: The time that a client has to take the end of an answer. Then Twisted's ``HTTPChannel`` closes
#: the connection, and cuts it after its own ``abortTimeout``.
END_TIMEOUT_S = 30

_HISTORY_IS_AWAY = b"Warning: log history temporarily unavailable."

#: The kernel asks a silent client's host for a sign of life after 60 s, then every 15 s, and gives
#: the connection up after the fourth time. By default it would wait for two hours.
_KEEPALIVE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 4),
)
_DISCARDED = b"Warning: log history discarded due to excessive volume."

#: The quality of a media type in ``Accept`` (RFC 9110 §12.4.2) that means "not acceptable".
_QUALITY_0 = re.compile(rb"q\s*=\s*0(?:\.0{0,3})?", re.IGNORECASE)
#: The time after which a client may try again if its channel has too many tails.
_RETRY_AFTER_S = 10
#: The time for which a client of events waits if the store is away: it would give up for ever at a
#: 503, while the store mostly comes back within seconds.
_STORE_PATIENCE_S = 20.0
_STORE_RETRY_S = 0.5
#: The time for which a browser remembers the answer to a preflight.
_PREFLIGHT_MAX_AGE_S = 86_400


@define(eq=False, repr=False)
class HttpAnswer:
    """
    The HTTP answer to a reader: chunked for HTTP/1.1, ended by closing the connection for HTTP/1.0,
    without a body for HEAD. The answer is never compressed.

    :param request: the request to answer.
    :param origins: the origins of web pages that may read the answer; ``*`` means all.
    :ivar headers: additional headers of this answer.
    :ivar reader: the reader to tell when the client leaves.
    :ivar is_lost: true if the client has closed the connection.
    :ivar has_started: true if the head of the answer has been written.
    :ivar write: the method ``write`` of the request, bound directly because it is called for every
        live line.
    """

    request: Request
    origins: Sequence[str] = ()
    headers: dict[bytes, bytes] = field(factory=dict)
    reader: Reader | None = None
    is_lost: bool = False
    has_started: bool = False
    write: Callable[[bytes], None] = field(init=False)
    _channel: HTTPChannel = field(init=False)
    _transport: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.write = self.request.write
        self._channel = self.request.channel
        self._transport = self._channel.transport
        self.request.notifyFinish().addErrback(self._connection_lost)

    def history_is_away(self) -> None:
        """Add a header that says that the recent messages cannot be read now."""
        self.headers.setdefault(b"X-Heroku-Warning", _HISTORY_IS_AWAY)

    def start(self, producer: IPushProducer) -> None:
        """Write the head of the answer, and register the producer with the connection."""
        self._start()
        self.request.registerProducer(producer, True)
        # An empty write sends the head. No header is needed any more; thousands of tails wait.
        self.request.write(b"")
        self.headers = {}
        self.request.requestHeaders = self.request.responseHeaders = Headers()

    def finish(self) -> None:
        """End the answer."""
        self.request.unregisterProducer()
        self.request.finish()
        if not self.is_closed:
            self._channel.setTimeout(END_TIMEOUT_S)

    def abort(self) -> None:
        """Cut the connection to the client at once."""
        self._transport.abortConnection()

    @property
    def is_closed(self) -> bool:
        """True if the client's connection is closed."""
        return self.is_lost or not self._transport.connected

    def head(self) -> None:
        """Write the whole answer to a HEAD request."""
        self._start()
        self.request.finish()

    def refuse(self, status: int, text: str) -> None:
        """Write an error message as the whole answer, if the client is still connected."""
        if not self.is_lost:
            body = text.encode()
            self._head(status)
            for name, value in self.headers.items():
                self.request.setHeader(name, value)
            self.request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
            self.request.setHeader(b"Content-Length", b"%d" % len(body))
            self.request.write(body)
            self.request.finish()

    def preflight(self) -> None:
        """
        Answer a browser's question (a CORS preflight) if a web page of another origin may read the
        session.
        """
        if self._allowed_origin() is None:
            self.refuse(404, "Not found")
            return
        self._head(204)
        self.request.setHeader(b"Access-Control-Allow-Methods", b"GET, HEAD")
        self.request.setHeader(b"Access-Control-Allow-Headers", b"Last-Event-ID, Cache-Control")
        self.request.setHeader(b"Access-Control-Max-Age", b"%d" % _PREFLIGHT_MAX_AGE_S)
        self.request.finish()

    def _start(self) -> None:
        self.has_started = True
        for name, value in self.headers.items():
            self.request.setHeader(name, value)
        self._head(200)
        # The text of this answer comes from senders.
        self.request.setHeader(b"X-Content-Type-Options", b"nosniff")
        self.request.setHeader(b"Content-Security-Policy", b"sandbox; default-src 'none'")
        self.request.setHeader(b"Connection", b"close")
        self._channel.persistent = False
        _watch(self._transport)

    def _head(self, status: int) -> None:
        """Set the status of the answer, and the headers that all answers of sessions have."""
        self.request.setResponseCode(status)
        self.request.setHeader(b"Cache-Control", b"no-cache")
        # nginx holds a stream back until its end, if it is not told otherwise.
        self.request.setHeader(b"X-Accel-Buffering", b"no")
        origin = self._allowed_origin()
        if origin is not None:
            self.request.setHeader(b"Access-Control-Allow-Origin", origin)
            self.request.setHeader(b"Access-Control-Expose-Headers", b"X-Heroku-Warning")
        if self.origins and "*" not in self.origins:
            self.request.setHeader(b"Vary", b"Origin")

    def _allowed_origin(self) -> bytes | None:
        """
        Return the origin of the web page that may read the answer; ``None`` if no page of another
        origin may read it.
        """
        if "*" in self.origins:
            return b"*"
        origin = self.request.getHeader(b"Origin") or b""
        return origin if origin.decode("latin-1") in self.origins else None

    def _connection_lost(self, reason: Failure) -> None:
        self.is_lost = True
        if self.reader is not None:
            self.reader.lost()


class _NotFound(Exception):
    """The session or its channel does not exist."""


class _TooMany(Exception):
    """The channel has the maximum number of open tails."""


class _Denied(Exception):
    """The operator has forbidden new tails."""


@define(eq=False, repr=False)
class Sessions:
    """
    Answer requests for sessions: find the session, and send its messages.

    :param rods: the control rods; one control rod forbids tails.
    :param urls: the settings with the origins of web pages that may read sessions.
    """

    store: IConfigStore
    registry: Registry
    rods: Live[Rods]
    tails: Tails
    urls: Urls

    def page(self, session_id: str, tail: bool = True) -> SessionPage:
        """
        Return the HTTP resource for the URL of one session.

        :param tail: false to show only recent messages, even if the session asks for live messages.
        """
        return SessionPage(self, session_id, tail)

    async def show(self, answer: HttpAnswer, session_id: str, tail: bool) -> None:
        """Answer a request for a session with the session's messages."""
        try:
            owner, session = await self._find(answer, session_id)
            if not tail:
                session = attrs.evolve(session, tail=False)
            await self._show(answer, session, session_id, owner)
        except _NotFound:
            answer.refuse(404, "Not found")
        except BadSession as bad:
            answer.refuse(400, str(bad))
        except _TooMany:
            answer.headers[b"Retry-After"] = b"%d" % _RETRY_AFTER_S
            answer.refuse(429, "Too many tails of this channel")
        except _Denied:
            answer.refuse(503, "Tail sessions are denied")
        except StoreAway:
            answer.refuse(503, "Logs are temporarily unavailable")

    async def _find(self, answer: HttpAnswer, session_id: str) -> tuple[Owner | None, Session]:
        if not is_session_id(session_id):
            raise _NotFound
        # The owner first: it never expires before its session.
        owner = await self._kept(answer, owner_key(session_id))
        body = await self._kept(answer, session_id)
        if body is None:
            raise _NotFound
        return parse_owner(owner), parse_session(body)

    async def _kept(self, answer: HttpAnswer, session_id: str) -> bytes | None:
        """
        Return the stored body of a session. If the store cannot be reached, a client of events
        waits.
        """
        clock = self.tails.clock
        deadline_s = clock.seconds() + (_STORE_PATIENCE_S if wants_events(answer.request) else 0.0)
        while True:
            try:
                return await self.store.get_session(session_id)
            except StoreAway:
                if answer.is_lost or clock.seconds() >= deadline_s:
                    raise
            await deferLater(clock, _STORE_RETRY_S)

    async def _show(
        self, answer: HttpAnswer, session: Session, session_id: str, owner: Owner | None
    ) -> None:
        channel = self._channel(session)

        def may_read() -> bool:
            return owner is None or owner.may_read(self.registry.credential)

        if not may_read():
            raise _NotFound
        if session.tail and self.rods.now.deny_tail_sessions:
            raise _Denied
        if session.tail and not self.tails.has_room(channel.id):
            raise _TooMany
        events = wants_events(answer.request)
        answer.headers[b"Content-Type"] = (
            b"text/event-stream; charset=utf-8" if events else b"text/html; charset=utf-8"
        )
        if NO_REDIS in channel.flags:
            answer.headers[b"X-Heroku-Warning"] = _DISCARDED
        if answer.is_lost:
            return
        if answer.request.method == b"HEAD":
            answer.head()
            return
        after = event_id(answer.request.getHeader(b"Last-Event-ID")) if events else None
        tail = answer.reader = self.tails.tail(session, events, answer)
        await self.tails.begin(
            tail, channel, session, after, session_id=session_id, may_read=may_read
        )
        if not answer.has_started:
            # The tail was ended before it could begin. Was its channel deleted?
            self._channel(session)
            raise StoreAway("tails were ended")

    def _channel(self, session: Session) -> Channel:
        if not self.registry.ready:
            raise StoreAway("the node starts")
        channel = self.registry.channel(session.channel_id)
        if channel is None:
            raise _NotFound
        return channel


class SessionPage(Resource):
    """The HTTP resource for the URL of one session."""

    isLeaf = True

    def __init__(self, sessions: Sessions, session_id: str, tail: bool) -> None:
        super().__init__()
        self._sessions = sessions
        self._session_id = session_id
        self._tail = tail

    def render_GET(self, request: Request) -> int:
        """Answer a GET or HEAD request; Twisted calls this method for both."""
        answer = self._answer(request)
        showing = self._sessions.show(answer, self._session_id, self._tail)
        Deferred.fromCoroutine(showing).addErrback(_failed, answer)
        return NOT_DONE_YET

    def render_OPTIONS(self, request: Request) -> int:
        """
        Answer a browser's question (a CORS preflight) if a page of another origin may read the
        session.
        """
        self._answer(request).preflight()
        return NOT_DONE_YET

    def _answer(self, request: Request) -> HttpAnswer:
        return HttpAnswer(request, self._sessions.urls.cors_origins)


def _failed(failure: Failure, answer: HttpAnswer) -> None:
    _log.failure("bug: a session cannot be shown", failure=failure)
    if answer.reader is not None:
        answer.reader.lost()
    if answer.has_started:
        answer.abort()
    else:
        answer.refuse(500, "Internal Server Error")


def wants_events(request: Request) -> bool:
    """Return true if the request's ``Accept`` header accepts Server-Sent Events."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"Accept", []))
    for item in accept.split(b","):
        media_type, *parameters = (part.strip() for part in item.split(b";"))
        if media_type.lower() == b"text/event-stream":
            return not any(_QUALITY_0.fullmatch(each) for each in parameters)
    return False


def _watch(transport: object) -> None:
    """Make the kernel close a connection whose client does not respond any more."""
    while isinstance(transport, ProtocolWrapper):
        # TLS has a handle of its own, which is not the socket.
        transport = transport.transport
    handle = getattr(transport, "getHandle", lambda: None)()
    if isinstance(handle, socket.socket):
        for level, option, value in _KEEPALIVE:
            handle.setsockopt(level, option, value)
