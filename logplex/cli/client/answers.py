# SPDX-License-Identifier: Apache-2.0

"""
Read the bodies of HTTP responses, with bounds on their size and on pauses.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IConsumer, IDelayedCall, IReactorTime
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.iweb import IBodyProducer, IResponse
from zope.interface import implementer

from logplex.cli.failures import Unreachable

#: The longest body that is kept in memory whole.
MAX_ANSWER_BYTES = 268_435_456


class Body(Protocol):
    """
    Read the body of an HTTP response chunk by chunk.

    :param take: called with every chunk. An exception of this function ends the reading.
    :param silence_s: the maximum time between two chunks. After a longer pause the body counts as
        lost.
    :ivar ended: fires with true if the whole body arrived, with false if it was lost. Fails with
        the exception of ``take``.
    """

    transport: Any

    def __init__(
        self, take: Callable[[bytes], None], clock: IReactorTime, silence_s: float
    ) -> None:
        self._take = take
        self._silence_s = silence_s
        self._timer: IDelayedCall | None = clock.callLater(silence_s, self._silent)
        self.ended: Deferred[bool] = Deferred(self._cancelled)

    def dataReceived(self, data: bytes) -> None:
        if self._timer is not None:
            self._timer.reset(self._silence_s)
            try:
                self._take(data)
            except Exception:
                self._finish(Failure())
                self._leave()

    def connectionLost(self, reason: Failure | None = None) -> None:
        # Without Content-Length or chunks, the end looks the same as a lost connection.
        is_end = reason is not None and reason.check(ResponseDone, PotentialDataLoss)
        self._finish(bool(is_end))

    def _silent(self) -> None:
        self._finish(False)
        self._leave()

    def _cancelled(self, _: object) -> None:
        # Twisted fails the Deferred itself.
        self._stop_timer()
        self._leave()

    def _finish(self, result: bool | Failure) -> None:
        if self._timer is None:
            return
        self._stop_timer()
        if isinstance(result, Failure):
            self.ended.errback(result)
        else:
            self.ended.callback(result)

    def _stop_timer(self) -> None:
        timer, self._timer = self._timer, None
        if timer is not None and timer.active():
            timer.cancel()

    def _leave(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()


async def read_body(
    response: IResponse, take: Callable[[bytes], None], clock: IReactorTime, silence_s: float
) -> bool:
    """
    Read a response body chunk by chunk.

    :param take: called with every chunk. An exception that it raises ends the reading, and is
        raised again.
    :param silence_s: the longest pause between two chunks.
    :return: true if the whole body arrived; false if the connection was lost or silent.
    """
    body = Body(take, clock, silence_s)
    response.deliverBody(body)
    return await body.ended


async def read_whole(response: IResponse, clock: IReactorTime, silence_s: float) -> bytes:
    """
    Return a whole response body.

    :param silence_s: the longest pause between two chunks.
    :raise Unreachable: a part of the body is missing, or it has more than
        :data:`MAX_ANSWER_BYTES`.
    """
    pieces: list[bytes] = []
    size = 0

    def take(piece: bytes) -> None:
        nonlocal size
        size += len(piece)
        if size > MAX_ANSWER_BYTES:
            raise Unreachable(f"an answer has more than {MAX_ANSWER_BYTES} bytes")
        pieces.append(piece)

    if not await read_body(response, take, clock, silence_s):
        raise Unreachable("the connection was lost in the middle of an answer")
    return b"".join(pieces)


@implementer(IBodyProducer)
@define(eq=False, repr=False)
class WholeBody:
    """
    The body of an HTTP request, which is written all at once.

    Twisted's ``FileBodyProducer`` would use the global reactor, which tests do not run.
    """

    _content: bytes
    length: int = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.length = len(self._content)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        consumer.write(self._content)
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done

    def pauseProducing(self) -> None:
        """Do nothing: the whole body was written at once."""

    def resumeProducing(self) -> None:
        """Do nothing: the whole body was written at once."""

    def stopProducing(self) -> None:
        """Do nothing: the whole body was written at once."""
