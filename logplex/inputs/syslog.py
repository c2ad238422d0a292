# SPDX-License-Identifier: Apache-2.0

"""
The listeners for syslog over TCP and TLS (PROTOCOL §3). Senders write, and the node never answers.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Any

from OpenSSL import SSL
from prometheus_client.core import CounterMetricFamily
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import (
    IDelayedCall,
    IHandshakeListener,
    IReactorTime,
    ISSLTransport,
)
from twisted.internet.protocol import Protocol, ServerFactory, connectionDone
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.live import Live
from logplex.metrics import Counters, Sample, connection_samples, wrong_protocol_samples
from logplex.settings import Limits
from logplex.syslog.cutting import FrameHeads
from logplex.syslog.framing import FrameDecoder
from logplex.web import ConnectionBound, address_of

_log = Logger()

#: A connection that the node closes is aborted if it has not ended after this time.
CLOSE_TIMEOUT_S = 15.0
#: A message that lines may be joined to is complete after this time without more bytes.
JOIN_S = 0.1
#: These bytes of a malformed piece without an end count as a message without a known token.
MALFORMED_BYTES = 1_024
#: On shutdown a connection is closed once it has been silent for this time. It lets a sender on the
#: other side of the world notice that the node ends the connection.
QUIET_S = 0.25
#: On shutdown every connection is closed after this time.
LAST_WORDS_S = 1.0
#: On shutdown a closed connection is aborted after this time: a sender over TLS that never
#: reads keeps it from ending.
LAST_CLOSE_TIMEOUT_S = 2.0

# The beginning of a connection of another protocol.
_FOREIGN_BEGINNING = re.compile(
    rb"(?P<tls>\x16\x03[\x00-\x04])|(?P<http>[A-Z]{3,16} [!-~]{1,4000} HTTP/[12]\.[01]\r?\n)"
)

_FOREIGN = {
    "tls": "the sender speaks TLS",
    "http": "the sender speaks HTTP",
    "plain": "TLS failed: the sender does not speak TLS",
}
# The reasons that OpenSSL gives for bytes that are not TLS at all.
_WITHOUT_TLS = {"wrong version number", "http request", "https proxy request", "unknown protocol"}

#: ``route(messages, unreadable)`` takes whole messages, and the number of those without a head of
#: RFC 5424. It returns the number of those with a known token, and must not keep the list.
Route = Callable[[list[bytes], int], int]


@implementer(IHandshakeListener)
class SyslogProtocol(Protocol):
    """
    The connection of one syslog sender.

    :ivar active_at: time of the last data, on the factory's clock; before the end of the TLS
        handshake: time at which the handshake could begin.
    """

    factory: SyslogFactory
    transport: Any  # ITCPTransport and IPushProducer, whatever is wrapped around it.
    active_at = 0.0
    _is_shaking_hands = False
    _has_begun = False
    _timer: IDelayedCall | None = None
    _flushing: IDelayedCall | None = None
    # Messages and malformed stretches in a row of which none had a known token.
    _unknown = 0
    # Bytes of malformed pieces that have not been counted as messages.
    _malformed_bytes = 0
    _malformed = 0
    _truncated = 0
    _unreadable = 0

    def connectionMade(self) -> None:
        self._decoder = FrameDecoder(self.factory.heads, self.factory.limits.now.syslog_join_lines)
        if not self.factory.admit(self):
            self.transport.abortConnection()
            return
        # No check of the interface: TLS claims to be TCP even over a Unix socket.
        set_keep_alive = getattr(self.transport, "setTcpKeepAlive", None)
        if set_keep_alive is not None:
            set_keep_alive(True)
        self.active_at = self.factory.clock.seconds()
        self._is_shaking_hands = ISSLTransport.providedBy(self.transport)
        self._call_later(self._patience_s, self._check_idle)

    def handshakeCompleted(self) -> None:
        self._is_shaking_hands = False
        self.active_at = self.factory.clock.seconds()

    def dataReceived(self, data: bytes) -> None:
        self.active_at = self.factory.clock.seconds()
        if not self._has_begun:
            self._has_begun = True
            foreign = _FOREIGN_BEGINNING.match(data)
            if foreign is not None:
                self.factory.refuse_protocol(self, foreign.lastgroup or "")
                self.close()
                return
        messages = self._decoder.feed(data)
        if not messages and self._decoder.in_malformed:
            self._count_malformed(len(data))
        self._route(messages)
        if self._decoder.is_open:
            if self._flushing is None:
                self._flushing = self.factory.clock.callLater(JOIN_S, self._flush)
            else:
                self._flushing.reset(JOIN_S)

    def _flush(self) -> None:
        """
        Route the last message, because no further line has arrived in time to be joined to this
        message.
        """
        self._flushing = None
        self._route(self._decoder.flush())

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self._call_no_more()
        if self._flushing is not None:
            self._flushing.cancel()
            self._flushing = None
        if not self.factory.forget(self):
            return
        if isinstance(reason.value, SSL.Error):
            if _is_without_tls(reason.value):
                self.factory.refuse_protocol(self, "plain")
            else:
                self.factory.complain(self, "TLS failed")
        self._route(self._decoder.finish())

    def close(self, timeout_s: float = CLOSE_TIMEOUT_S) -> None:
        """
        Close the connection. Abort it if the sender does not close its side within the timeout.
        """
        self._call_no_more()
        self._call_later(timeout_s, self.transport.abortConnection)
        self.transport.loseConnection()

    def half_close(self) -> None:
        """
        End the sending direction of the connection, and still receive data. TLS cannot do this.
        """
        end = getattr(self.transport, "loseWriteConnection", None)
        if end is not None and not ISSLTransport.providedBy(self.transport):
            end()
            self.active_at = self.factory.clock.seconds()

    def _route(self, messages: list[bytes]) -> None:
        decoder = self._decoder
        unreadable = decoder.unreadable - self._unreadable
        if (
            decoder.malformed != self._malformed
            or decoder.truncated != self._truncated
            or unreadable
        ):
            self._count(decoder)
        if messages:
            try:
                known = self.factory.route(messages, unreadable)
            except Exception:
                _log.failure(
                    "bug: {count} messages cannot be routed; the connection ends",
                    count=len(messages),
                )
                self.transport.abortConnection()
                return
            self._unknown = 0 if known else self._unknown + len(messages)
        if self._unknown >= self.factory.limits.now.syslog_unknown_messages:
            self._unknown = 0
            self.factory.refuse_unknown(self)

    def _count_malformed(self, size: int) -> None:
        """Let a malformed piece without an end count as many messages, not as one."""
        count, self._malformed_bytes = divmod(self._malformed_bytes + size, MALFORMED_BYTES)
        self._unknown += count

    def _count(self, decoder: FrameDecoder) -> None:
        counters = self.factory.counters
        counters.truncated += decoder.truncated - self._truncated
        counters.unreadable += decoder.unreadable - self._unreadable
        counters.malformed += decoder.malformed - self._malformed
        self._unknown += decoder.malformed - self._malformed
        if decoder.malformed != self._malformed:
            self.factory.complain(self, "the data is malformed")
        self._truncated, self._malformed = decoder.truncated, decoder.malformed
        self._unreadable = decoder.unreadable

    def _check_idle(self) -> None:
        """
        Close the connection if its sender has been silent for too long. The timer is set again only
        when it fires, not at each chunk.
        """
        rest = self.active_at + self._patience_s - self.factory.clock.seconds()
        if rest > 0:
            self._call_later(rest, self._check_idle)
        elif self.factory.paused:
            self._call_later(self._patience_s, self._check_idle)
        else:
            if self._is_shaking_hands:
                self.factory.complain(self, "the TLS handshake timed out")
            self.close()

    @property
    def _patience_s(self) -> float:
        """
        The time in seconds that the sender may be silent in the present state of the connection.
        """
        limits = self.factory.limits
        if self._is_shaking_hands:
            return limits.now.syslog_handshake_timeout_s
        return limits.now.syslog_idle_timeout_s

    def _call_later(self, delay_s: float, function: Callable[[], Any]) -> None:
        self._timer = self.factory.clock.callLater(delay_s, function)

    def _call_no_more(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()


class SyslogFactory(ServerFactory):
    """
    The factory and the list of the connections of all syslog listeners.

    :ivar paused: true while no connection is read. Senders wait meanwhile, and lose no message.
    :ivar unknown_connections: the number of connections that were closed because they brought many
        messages, and none with a known token.
    :ivar heads: the memory of frame heads that all connections share.
    """

    protocol = SyslogProtocol  # type: ignore[assignment]
    noisy = False

    def __init__(
        self, route: Route, counters: Counters, limits: Live[Limits], clock: IReactorTime
    ) -> None:
        self.route = route
        self.counters = counters
        self.clock = clock
        self.limits = limits
        self.paused = False
        self.unknown_connections = 0
        self._bound = ConnectionBound(clock)
        self.heads = FrameHeads()
        self._wrong_protocols: Counter[str] = Counter()
        self._complained_at: float | None = None
        # With the address of each sender when it came.
        self._open: dict[SyslogProtocol, str] = {}
        self._closed: Deferred[None] | None = None

    def pause(self) -> None:
        """Stop reading from all open and new connections."""
        self.paused = True
        for protocol in self._open:
            protocol.transport.pauseProducing()

    def resume(self) -> None:
        """Read from all connections again, after :meth:`pause`."""
        self.paused = False
        for protocol in list(self._open):
            protocol.active_at = self.clock.seconds()
            protocol.transport.resumeProducing()

    def close(self) -> Deferred[None]:
        """
        Read the data that senders have already written, then close all connections. The ports must
        be closed before. Fires when no connection is left, after a few seconds at most.

        The node ends its own direction first. A sender that notices writes no more, and opens
        another connection, so that none of its messages is lost.
        """
        if not self._open:
            return succeed(None)
        if self._closed is None:
            self._closed = Deferred()
            for protocol in list(self._open):
                protocol.half_close()
            self._close_quiet(self.clock.seconds() + LAST_WORDS_S)
        return self._closed

    def samples(self) -> Iterator[Sample]:
        """Yield the numbers of syslog connections, for metrics."""
        yield from connection_samples("syslog", len(self._open), self._bound.refused)
        yield from wrong_protocol_samples("syslog", self._wrong_protocols)
        yield Sample(
            "logplex_syslog_connections_unknown",
            "Connections that were closed because no message of many had a known token",
            self.unknown_connections,
            kind=CounterMetricFamily,
        )

    def troubles(self) -> list[str]:
        """Return the present failures of syslog inputs, one line each."""
        return self._bound.troubles("syslog")

    # Called by the connections.

    def admit(self, protocol: SyslogProtocol) -> bool:
        """Register a new connection. Return false if there are too many connections."""
        address = address_of(protocol.transport.getPeer())
        if not self._bound.admit(address, self.limits.now.syslog_connections):
            return False
        self._open[protocol] = address
        if self.paused:
            protocol.transport.pauseProducing()
        return True

    def forget(self, protocol: SyslogProtocol) -> bool:
        """Remove a connection that has ended. Return false if the connection was not admitted."""
        address = self._open.pop(protocol, None)
        if address is not None:
            self._bound.leave(address)
        if self._closed is not None and not self._open:
            closed, self._closed = self._closed, None
            closed.callback(None)
        return address is not None

    def complain(self, protocol: SyslogProtocol, what: str) -> None:
        """Log a mistake of a sender, at most once per interval for all senders together."""
        now = self.clock.seconds()
        last = self._complained_at
        if last is None or now - last >= self.limits.now.unknown_token_log_interval_s:
            self._complained_at = now
            peer = getattr(protocol.transport.getPeer(), "host", "unknown")
            _log.warn("syslog from {peer}: {what}", peer=peer, what=what)

    def refuse_unknown(self, protocol: SyslogProtocol) -> None:
        """Close a connection that has brought only messages with unknown tokens."""
        self.unknown_connections += 1
        _log.warn(
            "syslog from {peer}: closed, because none of its last {messages} messages had a known "
            "token",
            peer=address_of(protocol.transport.getPeer()) or "-",
            messages=self.limits.now.syslog_unknown_messages,
        )
        protocol.close()

    def refuse_protocol(self, protocol: SyslogProtocol, name: str) -> None:
        """Count and log a connection whose sender speaks another protocol."""
        self._wrong_protocols[name] += 1
        self.complain(protocol, _FOREIGN[name])

    def _close_quiet(self, deadline: float) -> None:
        now = self.clock.seconds()
        for protocol in list(self._open):
            if self.paused or now >= deadline or protocol.active_at + QUIET_S <= now:
                protocol.close(LAST_CLOSE_TIMEOUT_S)
        if self._open and now < deadline:
            self.clock.callLater(QUIET_S, self._close_quiet, deadline)


def _is_without_tls(error: SSL.Error) -> bool:
    """Return true if a TLS handshake failed because the sender does not speak TLS."""
    reasons = error.args[0] if error.args else ()
    return any(reason[-1] in _WITHOUT_TLS for reason in reasons)
