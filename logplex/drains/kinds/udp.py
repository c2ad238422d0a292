# SPDX-License-Identifier: Apache-2.0

"""
Syslog drains over UDP: one message in each datagram (PROTOCOL §9, RFC 5426).

They have the lifecycle of other drains. To connect means to look up the host and to open a socket
that is connected to the host's address. A failure is an error that the network may report later.
"""

from __future__ import annotations

from collections.abc import Iterable
from errno import ECONNREFUSED
from os import strerror
from typing import Any, cast

from attrs import define, evolve
from twisted.internet.address import IPv6Address
from twisted.internet.defer import Deferred
from twisted.internet.error import MessageLengthError
from twisted.internet.interfaces import IUDPTransport
from twisted.internet.protocol import DatagramProtocol
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.drains.delivery.courier import Reports, Supply
from logplex.drains.delivery.pace import Backoff, Linger, Pace
from logplex.drains.kinds.syslog import syslog_pace
from logplex.drains.network.errors import NOTICED, DestinationDenied, explain
from logplex.drains.network.guard import Guard
from logplex.drains.network.resolver import Address, ChannelResolver
from logplex.interfaces import IReactor
from logplex.model.destination import UdpDestination
from logplex.settings import DrainSettings
from logplex.syslog.inner import take_datagrams
from logplex.syslog.notices import l10_datagram

#: The most datagrams that are sent in one turn of the reactor.
MAX_DATAGRAMS = 128
#: Receivers do not answer; a datagram that comes back is cut to this length and ignored.
MAX_ANSWER_BYTES = 8_192
#: A sender of datagrams does not notice that a host has moved: its name is looked up this often.
MAX_AGE_S = 300.0


def udp_pace(settings: DrainSettings, linger: Linger) -> Pace:
    """Return the times that syslog drains over UDP keep."""
    return evolve(
        syslog_pace(settings, linger),
        linger_messages=MAX_DATAGRAMS,
        max_age_s=min(settings.max_age_s, MAX_AGE_S),
    )


@define(eq=False, repr=False, kw_only=True)
class UdpCourier:
    """
    The courier of syslog drains over UDP; see :class:`~logplex.drains.delivery.courier.Courier`.

    A datagram counts as delivered when the kernel has accepted the datagram, because UDP has no
    acknowledgements.

    :ivar reactor: opens sockets, and is the clock.
    """

    destination: UdpDestination
    drain_token: bytes
    buffer: Supply
    backoff: Backoff
    reports: Reports
    resolver: ChannelResolver
    guard: Guard
    reactor: IReactor

    # Called by the drain's lifecycle.

    @property
    def under_way(self) -> bool:
        """
        See :attr:`Courier.under_way`. Always false, because a datagram is sent or lost at once.
        """
        return False

    def connect(self) -> Deferred[UdpSocket]:
        """See :meth:`Courier.connect`."""
        return Deferred.fromCoroutine(self._connect())

    async def _connect(self) -> UdpSocket:
        addresses = await self.resolver.lookup(self.destination.host, self.destination.port)
        address = self._permitted(addresses)
        socket = UdpSocket(self)
        interface = "::" if isinstance(address, IPv6Address) else ""
        opened = self.reactor.listenUDP(0, socket, interface, MAX_ANSWER_BYTES)
        port = cast(IUDPTransport, opened)
        try:
            port.connect(address.host, address.port)
        except OSError:
            socket.close()
            raise
        return socket

    def refused(self, why: Failure) -> float:
        """See :meth:`Courier.refused`."""
        notice = not isinstance(why.value, NOTICED)
        return self.backoff.failed(f"no connection: {explain(why)}", notice)

    def recall(self) -> None:
        """See :meth:`Courier.recall`."""
        self.backoff.stop()

    def send(self, socket: UdpSocket) -> None:
        """See :meth:`Courier.send`."""
        buffer = self.buffer
        datagrams, unparsable = take_datagrams(buffer.messages, self.drain_token, MAX_DATAGRAMS)
        buffer.took(len(datagrams), unparsable)
        loss = buffer.take_loss()
        sent = unfit = 0
        try:
            if loss is not None:
                now = wall_s(self.reactor)
                socket.write(l10_datagram(now, self.drain_token, loss.count, loss.since))
                loss = None
            for datagram in datagrams:
                try:
                    socket.write(datagram)
                except MessageLengthError:
                    buffer.lose([datagram])
                    unfit += 1
                    self.backoff.unfit(f"{len(datagram)} bytes are too long for a datagram")
                else:
                    buffer.deliver(1)
                sent += 1
        except OSError as error:
            # A datagram is a message, too.
            buffer.put_back(datagrams[sent:])
            buffer.return_loss(loss)
            self._over(f"cannot send: {error.strerror}")
            return
        if sent > unfit:
            self.backoff.wrote()
        self.reports.finished()

    def unreachable(self) -> None:
        """Record that the network has reported that no program receives the datagrams."""
        self._over("the receiver's host says that no program listens there")

    # The choice of addresses, and the end of failures.

    def _permitted(self, addresses: Iterable[Address]) -> Address:
        for address in addresses:
            try:
                self.guard.check(address.host)
            except DestinationDenied:
                continue
            return address
        raise DestinationDenied

    def _over(self, why: str) -> None:
        self.reports.over(self.backoff.failed(why))


class UdpSocket(DatagramProtocol):
    """
    A UDP socket that is connected to the receiver's address, so that the socket gets errors of the
    network.

    See :class:`~logplex.drains.delivery.courier.ReceiverConnection`.
    """

    noisy = False
    transport: Any

    def __init__(self, courier: UdpCourier) -> None:
        self._courier = courier
        self._ended = False
        self._writing = False

    def close(self) -> None:
        """See :meth:`ReceiverConnection.close`."""
        if not self._ended:
            self._ended = True
            if self.transport is not None:
                self.transport.stopListening()

    def abort(self) -> None:
        """See :meth:`ReceiverConnection.abort`."""
        self.close()

    def write(self, datagram: bytes) -> None:
        """
        Send one datagram to the receiver.

        :raise OSError: the datagram could not be sent, or an earlier datagram did not arrive.
        :raise MessageLengthError: the message is too long for a datagram.
        """
        self._writing = True
        try:
            self.transport.write(datagram)
        finally:
            self._writing = False

    def connectionRefused(self) -> None:
        """See :class:`DatagramProtocol`. A write or a read has failed with ECONNREFUSED."""
        if self._writing:
            raise ConnectionRefusedError(ECONNREFUSED, strerror(ECONNREFUSED))
        self.stopProtocol()

    def stopProtocol(self) -> None:
        """See :class:`DatagramProtocol`. The reactor calls this method for an ICMP error too."""
        if not self._ended:
            self.close()
            self._courier.unreachable()
