# SPDX-License-Identifier: Apache-2.0

"""
``POST /logs`` (PROTOCOL §4): bodies of frames from authenticated senders.
"""

from __future__ import annotations

import re
from collections import deque

from attrs import evolve
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from logplex.access.authenticator import Authenticator
from logplex.inputs.compression import BadCompression, TooLarge, decompress
from logplex.inputs.frame_ids import FrameIds, frame_digest
from logplex.inputs.gate import LogsGate, Sender, content_encoding
from logplex.inputs.loops import Loops
from logplex.inputs.refusals import Refusals
from logplex.journal.values import JournalAway
from logplex.live import Live
from logplex.metrics import Counters, Sample
from logplex.model.rods import Rods
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import Limits
from logplex.syslog.bodies import FramingError, TooManyMessages, decode_body
from logplex.syslog.cutting import FrameHeads
from logplex.syslog.inner import token_of
from logplex.web import TOO_LARGE, Bounds, Refusal, Request, Site, plain_refusal

#: The data that is decompressed in one turn of the reactor. It takes some milliseconds.
TURN_BYTES = 524_288

_BAD_COMPRESSION = plain_refusal(400, "Bad request", reason="compression")
_DECOMPRESSED_TOO_LARGE = evolve(TOO_LARGE, reason="decompressed_too_large")
_TOO_MANY_MESSAGES = plain_refusal(413, "Too many log messages", reason="too_many_messages")
_LOOP = plain_refusal(
    508, "The drain sends its channel's messages back into the channel", reason="loop"
)
_COUNT_MISMATCH = plain_refusal(400, "Message count mismatch", reason="count_mismatch")

#: A later try may succeed; see PROTOCOL §12.
_RETRY = (b"Retry-After", b"1")
_JOURNAL_AWAY = plain_refusal(
    503, "The node's disk takes no messages now", _RETRY, reason="journal"
)
_BEING_TAKEN = plain_refusal(503, "This request is being taken", _RETRY, reason="being_taken")

_NUMBER = re.compile(rb"[-+]?[0-9_]+")
_COUNT = re.compile(rb"[0-9]{1,18}")


class CountMismatch(ValueError):
    """The body of a request has another number of frames than the sender announced."""


def logs_site(
    router: Router,
    registry: Registry,
    authenticator: Authenticator,
    rods: Live[Rods],
    *,
    counters: Counters,
    limits: Live[Limits],
    clock: IReactorTime,
    frame_ids: FrameIds | None = None,
) -> Site:
    """
    Return the HTTP site of the listener for logs, with its health check.

    :param frame_ids: the ids of requests that were answered; by default empty.
    """
    gate = LogsGate(registry, rods, authenticator)
    refusals = Refusals(registry, limits, clock)
    root = Resource()
    root.putChild(
        b"logs",
        _Logs(
            router,
            registry,
            counters,
            limits,
            frame_ids=FrameIds(limits, clock) if frame_ids is None else frame_ids,
            decompressor=Decompressor(clock),
            loops=Loops(registry, router.tell, clock),
        ),
    )
    root.putChild(b"healthcheck", _HealthCheck(registry))
    site = Site(
        root,
        admit=gate.admit,
        refused=refusals.count,
        more_samples=lambda: (*refusals.samples(), _waiting_sample(site)),
        bounds=lambda: _bounds(limits.now),
        clock=clock,
    )
    return site


def _waiting_sample(site: Site) -> Sample:
    return Sample(
        "logplex_logs_waiting_bytes",
        "Bytes of bodies whose requests have not been answered",
        site.waiting_bytes,
    )


def _bounds(limits: Limits) -> Bounds:
    return Bounds(
        body_bytes=limits.logs_body_bytes,
        connections=limits.logs_connections,
        idle_timeout_s=limits.logs_idle_timeout_s,
        body_bytes_per_s=limits.logs_body_bytes_per_s,
        waiting_bytes=limits.logs_waiting_bytes,
    )


class _HealthCheck(Resource):
    """The resource of ``GET /healthcheck``."""

    isLeaf = True

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Request) -> int:
        if not self._registry.ready:
            return _answer(request, 503, b"SYSTEM BOOTING")
        if self._registry.leaving:
            return _answer(request, 503, b"SYSTEM STOPPING")
        return _answer(request, 200, b"OK")


class _Logs(Resource):
    """
    The resource of ``POST /logs``, for requests that :mod:`logplex.inputs.gate` has admitted.

    Routing a body and remembering its frame id happen in one turn of the reactor. So if two
    requests with one frame id overlap, the second finds the id of the first.
    """

    isLeaf = True

    def __init__(
        self,
        router: Router,
        registry: Registry,
        counters: Counters,
        limits: Live[Limits],
        *,
        frame_ids: FrameIds,
        decompressor: Decompressor,
        loops: Loops,
    ) -> None:
        super().__init__()
        self._router = router
        self._registry = registry
        self._counters = counters
        self._limits = limits
        self._frame_ids = frame_ids
        self._decompressor = decompressor
        self._heads = FrameHeads()
        self._loops = loops
        #: Digests of requests whose messages the journal is taking.
        self._taking: set[bytes | None] = set()

    def render_POST(self, request: Request) -> int:
        body = request.content.getvalue()
        encoding = content_encoding(request)
        if not body or not encoding:
            return self._take(request, body)
        taking = Deferred.fromCoroutine(self._take_compressed(request, body, encoding))
        if not taking.called:
            # A client that leaves before the answer must assume that nothing was taken.
            request.notifyFinish().addErrback(lambda _: taking.cancel())
        taking.addErrback(_fail, request)
        return NOT_DONE_YET

    async def _take_compressed(self, request: Request, compressed: bytes, encoding: str) -> int:
        max_bytes = self._limits.now.logs_decompressed_bytes
        try:
            body = await self._decompressor.decompress(
                compressed, encoding, max_bytes, request.getComponent(Sender).name
            )
        except BadCompression:
            return _refuse(request, _BAD_COMPRESSION)
        except TooLarge:
            return _refuse(request, _DECOMPRESSED_TOO_LARGE)
        return self._take(request, body)

    def _take(self, request: Request, body: bytes) -> int:
        sender: Sender = request.getComponent(Sender)
        frame_id = _frame_id(request)
        digest = frame_digest(sender.name, frame_id) if frame_id is not None else None
        if digest is not None and self._frame_ids.has(digest):
            self._counters.repeated_requests += 1
            return _accept(request)
        if digest in self._taking:
            return _refuse(request, _BEING_TAKEN)
        try:
            frames, truncated, unreadable = decode_body(
                body, self._limits.now.logs_body_messages, self._heads
            )
            _check_count(request, len(frames))
        except TooManyMessages:
            return _refuse(request, _TOO_MANY_MESSAGES)
        except FramingError as error:
            self._counters.malformed += 1
            text = f"Malformed log messages: byte {error.byte}, frame {error.frame}"
            return _refuse(request, plain_refusal(400, text, reason="malformed"))
        except CountMismatch:
            return _refuse(request, _COUNT_MISMATCH)
        if self._is_loop(request, sender, frames):
            return _refuse(request, _LOOP)
        if sender.token is None and sender.channel_id is not None:
            frames = self._permitted(sender.channel_id, frames)
        taking = self._router.promise(frames, sender.token, digest)

        def route(_: None) -> None:
            self._counters.truncated += truncated
            self._counters.unreadable += unreadable
            journaled = taking is not None
            if sender.token is not None:
                self._router.route_as(sender.token, frames, unreadable, journaled)
            else:
                self._router.route(frames, unreadable, journaled)
            if digest is not None:
                self._frame_ids.add(digest)

        if taking is None:
            route(None)
            return _accept(request)
        if digest is not None:
            self._taking.add(digest)
        gone: list[object] = []
        request.notifyFinish().addErrback(gone.append)

        def over(result: None) -> None:
            self._taking.discard(digest)
            return result

        def answer(_: None) -> None:
            # If the client has left meanwhile, its messages are routed all the same.
            if not gone:
                _accept(request)

        def away(failure: Failure) -> None:
            failure.trap(JournalAway)
            if not gone:
                _refuse(request, _JOURNAL_AWAY)

        taking.addBoth(over).addCallback(route).addCallbacks(answer, away)
        taking.addErrback(_fail, request)
        return NOT_DONE_YET

    def _is_loop(self, request: Request, sender: Sender, frames: list[bytes]) -> bool:
        drain_token = request.getHeader(b"Logplex-Drain-Token")
        if drain_token is None:
            return False
        written = {sender.token} if sender.token else set(map(token_of, frames))
        tokens = (self._registry.token(each.decode("latin-1")) for each in written)
        channel_ids = {token.channel_id for token in tokens if token}
        if sender.channel_id is not None:
            channel_ids &= {sender.channel_id}
        return self._loops.closes(drain_token.decode("latin-1"), channel_ids)

    def _permitted(self, channel_id: str, frames: list[bytes]) -> list[bytes]:
        """Return the frames whose tokens belong to this channel."""
        tokens = {token.id.encode() for token in self._registry.tokens_of(channel_id)}
        permitted = [frame for frame in frames if token_of(frame) in tokens]
        foreign = len(frames) - len(permitted)
        self._counters.received += foreign
        self._counters.not_permitted += foreign
        stream = self._registry.stream(channel_id)
        if stream:
            stream.activity.drop("not_permitted", foreign)
        return permitted


class Decompressor:
    """
    A queue that decompresses bodies in slices, and lets the reactor do other work between the
    slices.

    Only one body is decompressed at a time. The bodies that wait are still compressed, so they are
    small. Senders take turns, so that a sender with many large bodies does not make other senders
    wait.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._is_busy = False
        # By sender, the next one first.
        self._waiting: dict[bytes, deque[Deferred[None]]] = {}

    async def decompress(
        self, body: bytes, encoding: str, max_bytes: int, sender: bytes = b""
    ) -> bytes:
        """
        Wait for the sender's turn, and return the decompressed body.

        :raises BadCompression: the body does not have this encoding, or is incomplete.
        :raises TooLarge: the result would be larger than ``max_bytes``.
        """
        if self._is_busy:
            turn: Deferred[None] = Deferred()
            self._waiting.setdefault(sender, deque()).append(turn)
            await turn
        self._is_busy = True
        try:
            pieces: list[bytes] = []
            turn_bytes = 0
            for piece in decompress(body, encoding, max_bytes):
                if turn_bytes >= TURN_BYTES:
                    turn_bytes = 0
                    await deferLater(self._clock, 0)
                pieces.append(piece)
                turn_bytes += len(piece)
            return b"".join(pieces)
        finally:
            self._next_turn()

    def _next_turn(self) -> None:
        """
        Start the first waiting body of the next sender. The sender's other bodies wait until all
        other senders have had a turn.
        """
        self._is_busy = False
        while self._waiting and not self._is_busy:
            sender = next(iter(self._waiting))
            turns = self._waiting.pop(sender)
            turn = turns.popleft()
            if turns:
                self._waiting[sender] = turns
            # A turn that was cancelled has been called already.
            if not turn.called:
                self._is_busy = True
                turn.callback(None)
                return


def _check_count(request: Request, count: int) -> None:
    """
    Raise :class:`CountMismatch` if the header ``Logplex-Msg-Count`` differs from the number of
    frames, or is not written as a count. A text that is not a number is ignored.
    """
    told = request.getHeader(b"Logplex-Msg-Count")
    if told is None or not _NUMBER.fullmatch(told):
        return
    if not _COUNT.fullmatch(told) or int(told) != count:
        raise CountMismatch


def _accept(request: Request) -> int:
    request.setResponseCode(204)
    request.finish()
    return NOT_DONE_YET


def _refuse(request: Request, refusal: Refusal) -> int:
    """Answer a request whose body has arrived with a refusal."""
    request.refuse(refusal)
    request.finish()
    return NOT_DONE_YET


def _answer(request: Request, status: int, text: bytes) -> int:
    request.setResponseCode(status)
    return request.answer(text)


def _frame_id(request: Request) -> bytes | None:
    """
    Return the frame id of a request. A repeated request has the same id. log-shuttle sends the id
    in another header.
    """
    frame_id = request.getHeader(b"Logplex-Frame-Id")
    if frame_id is None and (request.getHeader(b"User-Agent") or b"").startswith(b"log-shuttle/"):
        frame_id = request.getHeader(b"X-Request-Id")
    return frame_id


def _fail(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):
        request.processingFailed(failure)
