# SPDX-License-Identifier: Apache-2.0

"""
The answer of ``GET /v3/channels/:id/logs``: recent messages, written as fast as the client reads.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IPushProducer, IReactorTime
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from zope.interface import implementer

from logplex.syslog.inner import log_frames, tail_sources

#: The size at which a block of messages is written. A transport asks for a pause at 64 KiB.
BLOCK_BYTES = 65_536


class LogsAnswer(Resource):
    """
    The answer of the route ``GET /v3/channels/:id/logs``: recent messages, written as fast as the
    client reads.

    Nothing is formatted while the transport is full. The connection is cut if the client reads
    nothing for the idle timeout of the listener.

    :param messages: the messages, oldest first. Malformed messages are left out.
    :param wanted: the maximum number of messages to show; the newest messages are shown.
    """

    isLeaf = True

    def __init__(self, messages: Sequence[bytes], wanted: int, clock: IReactorTime) -> None:
        super().__init__()
        sources = tail_sources(messages)
        shown = [each for each, source in zip(messages, sources, strict=True) if source is not None]
        self._messages = shown[-wanted:] if wanted else []
        self._clock = clock

    def render_GET(self, request: Request) -> int:
        """Answer a GET or HEAD request; Twisted calls this method for both."""
        request.setHeader("Content-Type", "application/logplex-1")
        request.setHeader("Logplex-Msg-Count", str(len(self._messages)))
        request.setHeader("Connection", "close")
        request.channel.persistent = False
        _Writer(request, self._messages[::-1], self._clock).begin()
        return NOT_DONE_YET


@implementer(IPushProducer)
@define(eq=False, repr=False)
class _Writer:
    """Write the messages of one answer of the route ``GET /v3/channels/:id/logs``."""

    request: Request
    messages: list[bytes]
    clock: IReactorTime
    _channel: Any = field(init=False)
    _idle_timeout_s: float = field(init=False)
    _is_paused: bool = False
    _timer: IDelayedCall | None = None

    def __attrs_post_init__(self) -> None:
        self._channel = self.request.channel
        self._idle_timeout_s = self._channel.site.bounds().idle_timeout_s

    def begin(self) -> None:
        """Start to write the messages."""
        self.request.notifyFinish().addErrback(lambda _: self.stopProducing())
        self.request.registerProducer(self, True)
        self._pump()

    # Called by the transport.

    def pauseProducing(self) -> None:
        """Stop writing, because the transport is full."""
        self._is_paused = True
        if self._timer is None:
            self._timer = self.clock.callLater(self._idle_timeout_s, self._cut)

    def resumeProducing(self) -> None:
        """Continue to write, because the transport has room again."""
        self._is_paused = False
        self._stop_timer()
        self._pump()

    def stopProducing(self) -> None:
        """Stop writing for ever, because the connection is closed."""
        self.messages.clear()
        self._is_paused = True
        self._stop_timer()

    # Internals.

    def _pump(self) -> None:
        while self.messages and not self._is_paused:
            block: list[bytes] = []
            size_bytes = 0
            while self.messages and size_bytes < BLOCK_BYTES:
                size_bytes += len(self.messages[-1])
                block.append(self.messages.pop())
            self.request.write(b"".join(log_frames(block)[0]))
        if not self._is_paused:
            self.request.unregisterProducer()
            self.request.finish()
            if self._channel.transport.connected:
                # For the rest, which the transport still holds.
                self._channel.setTimeout(self._idle_timeout_s)

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _cut(self) -> None:
        self._timer = None
        self.messages.clear()
        self._channel.abort()
