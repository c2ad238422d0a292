"""
``POST /logs`` (PROTOCOL §4): bodies of frames from authenticated senders.
"""

from __future__ import annotations

from twisted.internet.defer import CancelledError, Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from logplex.access.authenticator import Authenticator
from logplex.inputs.compression import PIECE_BYTES, BadGzip, TooLarge, inflate
from logplex.inputs.frame_ids import FrameIds
from logplex.inputs.gate import GZIP, LogsGate, Sender, content_encoding
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import Limits
from logplex.syslog.cutting import FrameHeads
from logplex.syslog.framing import FramingError, TooManyMessages, decode_body
from logplex.syslog.inner import token_of
from logplex.web import Bounds, Request, Site

#: Half a megabyte, which takes some milliseconds. A smaller body is decompressed in one turn.
PIECES_A_TURN = 524_288 // PIECE_BYTES


class CountMismatch(ValueError):
    """The number of frames differs from the number that the sender announced."""


def logs_site(
    router: Router,
    registry: Registry,
    authenticator: Authenticator,
    rods: Live[Rods],
    *,
    counters: Counters,
    limits: Live[Limits],
    clock: IReactorTime,
) -> Site:
    """Return the site of the listener for logs over HTTP, with its health check."""
    gate = LogsGate(registry, rods, authenticator)
    root = Resource()
    root.putChild(
        b"logs",
        _Logs(
            router,
            registry,
            counters,
            limits,
            frame_ids=FrameIds(limits, clock),
            decompressor=Decompressor(clock),
        ),
    )
    root.putChild(b"healthcheck", _HealthCheck(registry))
    return Site(
        root,
        admit=gate.admit,
        bounds=lambda: Bounds(
            limits.now.logs_body_bytes, limits.now.logs_connections, limits.now.logs_idle_timeout_s
        ),
        clock=clock,
    )


class _HealthCheck(Resource):
    """``GET /healthcheck``."""

    isLeaf = True

    def __init__(self, registry: Registry) -> None:
        super().__init__()
        self._registry = registry

    def render_GET(self, request: Request) -> int:
        if not self._registry.ready:
            return _answer(request, 503, b"SYSTEM BOOTING")
        return _answer(request, 200, b"OK")


class _Logs(Resource):
    """
    ``POST /logs``, for requests that :mod:`logplex.inputs.gate` has admitted.

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
    ) -> None:
        super().__init__()
        self._router = router
        self._registry = registry
        self._counters = counters
        self._limits = limits
        self._frame_ids = frame_ids
        self._decompressor = decompressor
        self._heads = FrameHeads()

    def render_POST(self, request: Request) -> int:
        body = request.content.getvalue()
        if not body or content_encoding(request) not in GZIP:
            return self._take(request, body)
        taking = Deferred.fromCoroutine(self._take_compressed(request, body))
        if not taking.called:
            # A client that leaves before the answer must assume that nothing was taken.
            request.notifyFinish().addErrback(lambda _: taking.cancel())
        taking.addErrback(_fail, request)
        return NOT_DONE_YET

    async def _take_compressed(self, request: Request, compressed: bytes) -> int:
        max_bytes = self._limits.now.logs_decompressed_bytes
        try:
            body = await self._decompressor.decompress(compressed, max_bytes)
        except BadGzip:
            return _answer(request, 400, b"Bad request")
        except TooLarge:
            return _answer(request, 413, b"Request body too large")
        return self._take(request, body)

    def _take(self, request: Request, body: bytes) -> int:
        sender: Sender = request.getComponent(Sender)
        frame_id = request.getHeader(b"Logplex-Frame-Id")
        if frame_id is not None and self._frame_ids.has(sender.name, frame_id):
            self._counters.repeated_requests += 1
            return _accept(request)
        try:
            frames, truncated, unreadable = decode_body(
                body, self._limits.now.logs_body_messages, self._heads
            )
            _check_count(request, len(frames))
        except TooManyMessages:
            return _answer(request, 413, b"Too many log messages")
        except FramingError:
            self._counters.malformed += 1
            return _answer(request, 400, b"Malformed log messages")
        except CountMismatch:
            return _answer(request, 400, b"Message count mismatch")
        self._counters.truncated += truncated
        self._counters.unreadable += unreadable
        self._route(sender, frames, unreadable)
        if frame_id is not None:
            self._frame_ids.add(sender.name, frame_id)
        return _accept(request)

    def _route(self, sender: Sender, frames: list[bytes], unreadable: int) -> None:
        if sender.token is not None:
            self._router.route_as(sender.token, frames, unreadable)
        elif sender.channel_id is None:
            self._router.route(frames, unreadable)
        else:
            self._router.route(self._permitted(sender.channel_id, frames), unreadable)

    def _permitted(self, channel_id: str, frames: list[bytes]) -> list[bytes]:
        """Return the frames whose token belongs to this channel."""
        tokens = {token.id.encode() for token in self._registry.tokens_of(channel_id)}
        permitted = [frame for frame in frames if token_of(frame) in tokens]
        foreign = len(frames) - len(permitted)
        self._counters.received += foreign
        self._counters.not_permitted += foreign
        return permitted


class Decompressor:
    """
    Decompress bodies in slices, and let the reactor do other work between the slices.

    Only one body is decompressed at a time. The bodies that wait are still compressed, so small.
    """

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._lock = DeferredLock()

    async def decompress(self, body: bytes, max_bytes: int) -> bytes:
        """
        Return the decompressed body.

        :raises BadGzip: the body is not gzip, or is cut off.
        :raises TooLarge: the result would be larger than ``max_bytes``.
        """
        await self._lock.acquire()
        try:
            pieces: list[bytes] = []
            for piece in inflate(body, max_bytes):
                if pieces and len(pieces) % PIECES_A_TURN == 0:
                    await deferLater(self._clock, 0)
                pieces.append(piece)
            return b"".join(pieces)
        finally:
            self._lock.release()


def _check_count(request: Request, count: int) -> None:
    """Raise :class:`CountMismatch` if the header ``Logplex-Msg-Count`` is another number."""
    told = request.getHeader(b"Logplex-Msg-Count")
    try:
        number = count if told is None else int(told)
    except ValueError:
        return
    if number != count:
        raise CountMismatch


def _accept(request: Request) -> int:
    request.setResponseCode(204)
    request.finish()
    return NOT_DONE_YET


def _answer(request: Request, status: int, text: bytes) -> int:
    request.setResponseCode(status)
    return request.answer(text)


def _fail(failure: Failure, request: Request) -> None:
    if not failure.check(CancelledError):
        request.processingFailed(failure)
