# SPDX-License-Identifier: Apache-2.0

"""The node knows the addresses of its own services."""

from __future__ import annotations

from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.interfaces import IReactorPluggableNameResolver, IResolutionReceiver
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from logplex.node.own_services import WatchedReactor, listening
from tests.doubles.interfaces import as_reactor


class _Resolver:
    """A resolver that returns the addresses of the test for every name."""

    addresses: list[str] = []

    def resolveHostName(
        self, receiver: IResolutionReceiver, hostName: str, portNumber: int = 0, *more: object
    ) -> None:
        receiver.resolutionBegan(self)  # type: ignore[arg-type]
        for each in self.addresses:
            receiver.addressResolved(IPv4Address("TCP", each, portNumber))
        receiver.resolutionComplete()


class WatchedReactorTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.resolver = _Resolver()
        self.reactor = MemoryReactorClock()
        resolver: Any = self.resolver
        self.reactor.nameResolver = resolver
        self.watched: Any = WatchedReactor(as_reactor(self.reactor))

    def connect(self, *addresses: str) -> None:
        self.resolver.addresses = list(addresses)
        endpoint = HostnameEndpoint(self.watched, b"redis.example", 6379)
        endpoint.connect(Factory.forProtocol(Protocol))

    def test_reactor(self) -> None:
        """It connects as the reactor does."""
        self.assertTrue(IReactorPluggableNameResolver.providedBy(self.watched))
        self.connect("192.0.2.1")
        self.assertEqual(self.reactor.tcpClients[0][:2], ("192.0.2.1", 6379))

    def test_every_address(self) -> None:
        """All addresses of a name are remembered, not only the one that is connected to."""
        self.connect("192.0.2.1", "192.0.2.2")
        self.assertEqual(list(self.watched.addresses), [("192.0.2.1", 6379), ("192.0.2.2", 6379)])

    def test_moved(self) -> None:
        """A name that moves is remembered in both places."""
        self.connect("192.0.2.1")
        self.connect("192.0.2.9")
        self.assertEqual(len(self.watched.addresses), 2)

    def test_bound(self) -> None:
        """The newest addresses are kept."""
        for number in range(1_100):
            self.connect(f"10.0.{number // 250}.{number % 250}")
        self.assertEqual(len(self.watched.addresses), 1_000)
        self.assertIn(("10.0.4.99", 6379), self.watched.addresses)


class _Port:
    def __init__(self, host: object) -> None:
        self.getHost = lambda: host


class ListeningTests(SynchronousTestCase):
    def test_kinds(self) -> None:
        ports: Any = [
            _Port(IPv4Address("TCP", "0.0.0.0", 6001)),
            _Port(IPv6Address("TCP", "::1", 8601)),
            _Port(UNIXAddress("/run/logplex")),
        ]
        self.assertEqual(list(listening(ports)), [("0.0.0.0", 6001), ("::1", 8601)])
