"""
``GET /sessions/:uuid`` and ``GET /v2/canary-fetch/:uuid``: the URL is the right to read.
"""

from __future__ import annotations

import attrs
from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from logplex.interfaces import IConfigStore, StoreAway
from logplex.model.rods import Rods
from logplex.model.session import BadSession, Session, is_session_id, parse_session
from logplex.model.values import NO_REDIS, Channel
from logplex.routing.registry import Registry
from logplex.tails.answer import HttpAnswer
from logplex.tails.service import Tails
from logplex.tails.view import event_id

_log = Logger()

_DISCARDED = b"Warning: log history discarded due to excessive volume."


class _NotFound(Exception):
    """There is no such session, or its channel is gone."""


class _Denied(Exception):
    """Tails may not be opened now."""


@define(eq=False, repr=False)
class Sessions:
    """
    Looks sessions up and shows them.

    :param rods: say whether tails may be opened now.
    """

    store: IConfigStore
    registry: Registry
    rods: Rods
    tails: Tails

    def page(self, session_id: str, tail: bool = True) -> SessionPage:
        """
        The resource of one session's URL, for GET and HEAD.

        :param tail: false where only recent messages are shown, whatever the session says.
        """
        return SessionPage(self, session_id, tail)

    async def show(self, answer: HttpAnswer, session_id: str, tail: bool) -> None:
        """Answer a request for a session."""
        try:
            session = await self._find(session_id)
            if not tail:
                session = attrs.evolve(session, tail=False)
            await self._show(answer, session)
        except _NotFound:
            answer.refuse(404, "Not found")
        except BadSession as bad:
            answer.refuse(400, str(bad))
        except _Denied:
            answer.refuse(503, "Tail sessions are denied")
        except StoreAway:
            answer.refuse(503, "Logs are temporarily unavailable")

    async def _find(self, session_id: str) -> Session:
        body = await self.store.get_session(session_id) if is_session_id(session_id) else None
        if body is None:
            raise _NotFound
        return parse_session(body)

    async def _show(self, answer: HttpAnswer, session: Session) -> None:
        channel = self._channel(session)
        if session.tail and self.rods.deny_tail_sessions:
            raise _Denied
        events = wants_events(answer.request)
        answer.headers[b"Content-Type"] = b"text/event-stream" if events else b"text/html"
        if NO_REDIS in channel.flags:
            answer.headers[b"X-Heroku-Warning"] = _DISCARDED
        if answer.is_lost:
            return
        if answer.request.method == b"HEAD":
            answer.head()
            return
        after = event_id(answer.request.getHeader(b"Last-Event-ID")) if events else None
        stream = answer.reader = self.tails.stream(session, events, answer)
        await self.tails.begin(stream, channel, session, after)
        if not answer.has_started:
            # It was ended before it could begin: the channel is gone, or something else is up.
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
    """What one session's URL shows."""

    isLeaf = True

    def __init__(self, sessions: Sessions, session_id: str, tail: bool) -> None:
        super().__init__()
        self._sessions = sessions
        self._session_id = session_id
        self._tail = tail

    def render_GET(self, request: Request) -> int:
        """Twisted calls it for HEAD too."""
        answer = HttpAnswer(request)
        showing = self._sessions.show(answer, self._session_id, self._tail)
        Deferred.fromCoroutine(showing).addErrback(_failed, answer)
        return NOT_DONE_YET


def _failed(failure: Failure, answer: HttpAnswer) -> None:
    _log.failure("bug: a session cannot be shown", failure=failure)
    if answer.reader is not None:
        answer.reader.lost()
    if answer.has_started:
        answer.abort()
    else:
        answer.refuse(500, "Internal Server Error")


def wants_events(request: Request) -> bool:
    """Whether the client asks for Server-Sent Events."""
    accept = b",".join(request.requestHeaders.getRawHeaders(b"Accept", []))
    types = (item.partition(b";")[0].strip().lower() for item in accept.split(b","))
    return b"text/event-stream" in types
