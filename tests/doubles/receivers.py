# SPDX-License-Identifier: Apache-2.0

"""Receivers that are not there: a courier, an endpoint and connections under a test's control."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from zope.interface import implementer


class MiddleRandom(Random):
    """Draws the middle of every range, so that times are known."""

    def uniform(self, a: float, b: float) -> float:
        return (a + b) / 2

    def randint(self, a: int, b: int) -> int:
        return (a + b) // 2


class HighRandom(MiddleRandom):
    """Draws the highest number."""

    def uniform(self, a: float, b: float) -> float:
        return b

    def randint(self, a: int, b: int) -> int:
        return b


@define(eq=False)
class Link:
    """One accepted connection, seen from the receiver."""

    protocol: IProtocol
    transport: Any  # a StringTransport, which does not declare all that it has

    def received(self) -> bytes:
        """Return what came since the last call."""
        octets: bytes = self.transport.value()
        self.transport.clear()
        return octets

    def say(self, *octets: bytes) -> None:
        """Send bytes in a number of pieces."""
        for piece in octets:
            self.protocol.dataReceived(piece)

    def lose(self, reason: Exception | None = None) -> None:
        """The connection ends."""
        self.transport.disconnected = True
        self.protocol.connectionLost(Failure(reason or ConnectionDone()))

    @property
    def closed(self) -> bool:
        """True if the drain has closed it."""
        return bool(self.transport.disconnecting or self.transport.disconnected)


@define(eq=False)
class Attempt:
    """One call of ``connect`` that the test answers."""

    factory: IProtocolFactory
    result: Deferred[IProtocol] = field(factory=Deferred)

    def accept(self) -> Link:
        protocol = self.factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
        assert protocol is not None
        transport = StringTransport()
        protocol.makeConnection(transport)
        link = Link(protocol, transport)
        self.result.callback(protocol)
        return link

    def refuse(self, reason: Exception | None = None) -> None:
        self.result.errback(Failure(reason or ConnectionRefusedError()))


@implementer(IStreamClientEndpoint)
@define(eq=False)
class ScriptedEndpoint:
    """Remembers the attempts to connect."""

    attempts: list[Attempt] = field(factory=list)

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.attempts.append(Attempt(protocolFactory))
        return self.attempts[-1].result

    def accept(self) -> Link:
        """Accept the newest attempt."""
        return self.attempts[-1].accept()

    def refuse(self, reason: Exception | None = None) -> None:
        self.attempts[-1].refuse(reason)


@define(eq=False)
class StubConnection:
    """Remembers what it was asked for."""

    asked: list[str] = field(factory=list)

    def close(self) -> None:
        self.asked.append("close")

    def abort(self) -> None:
        self.asked.append("abort")


@define(eq=False)
class StubCourier:
    """A courier whose connections the test makes and answers for."""

    under_way: bool = False
    backoff_s: float = 7.0
    broken: bool = False
    attempts: list[Deferred[StubConnection]] = field(factory=list)
    refusals: list[Failure] = field(factory=list)
    recalled: int = 0
    #: What an attempt does when it is given up.
    cancelled: Callable[[Any], None] | None = None

    def connect(self) -> Deferred[StubConnection]:
        self.attempts.append(Deferred(self.cancelled))
        return self.attempts[-1]

    def accept(self) -> StubConnection:
        connection = StubConnection()
        self.attempts[-1].callback(connection)
        return connection

    def send(self, connection: StubConnection) -> None:
        connection.asked.append("send")
        if self.broken:
            raise RuntimeError("a bug")

    def refused(self, why: Failure) -> float:
        self.refusals.append(why)
        return self.backoff_s

    def recall(self) -> None:
        self.recalled += 1
        self.under_way = False
