# SPDX-License-Identifier: Apache-2.0

"""Addresses that drains may not connect to, however written and named."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IReactorPluggableNameResolver, IReactorTime
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.testing import MemoryReactorClock
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from logplex.drains.network.errors import DestinationDenied
from logplex.drains.network.guard import Guard, GuardedReactor
from logplex.settings import DrainSettings
from tests.doubles.interfaces import as_reactor
from tests.doubles.resolver import ScriptedNames

INTERNAL = Guard(
    ["10.0.0.0/8", "127.0.0.0/8", "169.254.0.0/16", "::1/128", "fe80::/10", "fd00:ec2::254/128"]
)


class GuardTests(SynchronousTestCase):
    def assert_denied(self, *addresses: str) -> None:
        for address in addresses:
            self.assertRaises(DestinationDenied, INTERNAL.check, address)

    def assert_permitted(self, *addresses: str) -> None:
        for address in addresses:
            INTERNAL.check(address)

    def test_plain(self) -> None:
        self.assert_denied("10.0.0.1", "10.255.255.255", "127.0.0.1", "169.254.169.254")
        self.assert_denied("::1", "fe80::1", "fd00:ec2::254")
        self.assert_permitted("9.255.255.255", "11.0.0.0", "192.0.2.1", "2001:db8::1", "fd00::1")

    def test_zone(self) -> None:
        self.assert_denied("fe80::1%2", "fe80::1%eth0")

    def test_mapped(self) -> None:
        """IPv4 addresses in the forms that IPv6 has for them."""
        self.assert_denied("::ffff:10.0.0.1", "::ffff:a9fe:a9fe", "::10.0.0.1")
        self.assert_permitted("::ffff:192.0.2.1")

    def test_nat64_with_short_prefix(self) -> None:
        """Local prefixes of 48, 56 and 64 bits: all three are 10.9.8.7."""
        self.assert_denied(
            "64:ff9b:1:a09:8:700::", "64:ff9b:1:ff0a:9:807::", "64:ff9b:1::a:908:700:0"
        )
        self.assert_permitted("64:ff9b:1::192.0.2.1")

    def test_nat64(self) -> None:
        self.assert_denied("64:ff9b::10.0.0.1", "64:ff9b:1:abcd::10.0.0.1")
        self.assert_permitted("64:ff9b::192.0.2.1")

    def test_tunnels(self) -> None:
        """6to4 and Teredo."""
        self.assert_denied("2002:0a00:0001::1", "2001:0:c000:201::f5ff:fffe")
        self.assert_permitted("2002:c000:0201::1")

    def test_unspecified(self) -> None:
        """The kernel takes the unspecified address for this machine."""
        self.assert_denied("0.0.0.0", "::", "::ffff:0.0.0.0", "64:ff9b::0.0.0.0")

    def test_not_an_address(self) -> None:
        """A drain does not connect to an address that cannot be checked."""
        self.assertRaises(ValueError, INTERNAL.check, "localhost")

    def test_default(self) -> None:
        """Without configuration link-local and the clouds' metadata are denied, loopback is not:
        a receiver on the same machine is common."""
        guard = Guard(DrainSettings().deny_networks)
        for address in ("169.254.169.254", "fe80::1", "::ffff:169.254.169.254", "100.100.100.200"):
            self.assertRaises(DestinationDenied, guard.check, address)
        guard.check("127.0.0.1")
        guard.check("10.0.0.1")

    @given(st.ip_addresses(network="10.0.0.0/8"))
    def test_every_form(self, address: object) -> None:
        self.assert_denied(f"{address}", f"::ffff:{address}", f"64:ff9b::{address}", f"::{address}")


class OwnServices(SynchronousTestCase):
    """The node itself and its Redis are no receivers, whatever networks are denied."""

    def setUp(self) -> None:
        self.own: list[tuple[str, int]] = []
        self.guard = Guard([], lambda: self.own)

    def assert_denied(self, *addresses: str, port: int = 6379) -> None:
        for address in addresses:
            self.assertRaises(DestinationDenied, self.guard.check, address, port)

    def assert_permitted(self, *addresses: str, port: int = 6379) -> None:
        for address in addresses:
            self.guard.check(address, port)

    def test_none(self) -> None:
        self.assert_permitted("127.0.0.1", "::1", "192.0.2.1")

    def test_address(self) -> None:
        """An own address is denied in every way to write it."""
        self.own = [("192.0.2.1", 6379)]
        self.assert_denied("192.0.2.1", "::ffff:192.0.2.1", "64:ff9b::192.0.2.1", "::192.0.2.1")
        self.assert_permitted("192.0.2.2", "127.0.0.1")

    def test_other_port(self) -> None:
        self.own = [("192.0.2.1", 6379), ("127.0.0.1", 6001)]
        self.assert_permitted("192.0.2.1", "127.0.0.1", port=6380)
        self.assert_denied("127.0.0.1", port=6001)

    def test_this_machine(self) -> None:
        """A service on this machine is reached over each of its addresses."""
        for host in ("127.0.0.1", "0.0.0.0", "::", "::1", ""):
            self.own = [(host, 6379)]
            self.assert_denied("127.0.0.1", "127.0.0.53", "0.0.0.0", "::1", "::", "::ffff:7f00:1")
            self.assert_permitted("192.0.2.1", "2001:db8::1")

    def test_later(self) -> None:
        """An address that the node begins to use while it runs is denied from then on."""
        self.assert_permitted("192.0.2.7")
        self.own.append(("192.0.2.7", 6379))
        self.assert_denied("192.0.2.7")

    def test_udp(self) -> None:
        """The node has no service over UDP: another program may have the port there."""
        self.own = [("127.0.0.1", 6001)]
        self.guard.check("127.0.0.1")


class GuardedReactorTests(SynchronousTestCase):
    """Endpoints connect through the guard, after resolution, at every connection."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.names = ScriptedNames()
        self.guarded = GuardedReactor(as_reactor(self.reactor), INTERNAL, self.names.of("app"))

    def connect(self, host: str = "logs.example") -> Failure | None:
        """Try; the failure if there is one now."""
        failures: list[Failure] = []
        endpoint = self.guarded.endpoint(host, 80, 3.0)
        endpoint.connect(Factory.forProtocol(Protocol)).addErrback(failures.append)
        self.reactor.pump([0.3] * 5)
        return failures[0] if failures else None

    def connected_to(self) -> list[str]:
        return [host for host, *_ in self.reactor.tcpClients]

    def test_interfaces(self) -> None:
        verifyObject(IReactorTime, self.guarded)
        verifyObject(IReactorPluggableNameResolver, self.guarded)

    def test_permitted(self) -> None:
        self.names.addresses = ["192.0.2.1"]
        self.assertIsNone(self.connect())
        self.assertEqual(self.connected_to(), ["192.0.2.1"])

    def test_name_that_is_none_by_the_rules(self) -> None:
        self.names.addresses = ["192.0.2.1"]
        self.assertIsNone(self.connect("my_app"))
        self.assertEqual(self.connected_to(), ["192.0.2.1"])

    def test_denied(self) -> None:
        """A name that leads inward is not followed, and the failure does not say where."""
        self.names.addresses = ["10.0.0.1"]
        failure = self.connect()
        assert failure is not None
        failure.trap(DestinationDenied)
        self.assertNotIn("10.0.0.1", failure.getErrorMessage())
        self.assertEqual(self.connected_to(), [])

    def test_some_denied(self) -> None:
        """Other addresses of the name are tried."""
        self.names.addresses = ["::1", "10.0.0.1", "192.0.2.1", "2001:db8::1"]
        self.assertIsNone(self.connect())
        self.assertEqual(self.connected_to(), ["192.0.2.1", "2001:db8::1"])

    def test_rebinding(self) -> None:
        """A name that means something else at the next connection is checked again."""
        self.names.addresses = ["192.0.2.1"]
        self.connect()
        self.names.addresses = ["127.0.0.1"]
        self.assertIsNotNone(self.connect())
        self.assertEqual(self.connected_to(), ["192.0.2.1"])

    def test_literal(self) -> None:
        """An address in the URL is checked as well."""
        self.assertIsNotNone(self.connect("127.0.0.1"))

    def test_fastest(self) -> None:
        """An address that does not answer does not hold up the others."""
        self.names.addresses = ["192.0.2.1", "192.0.2.2"]
        self.connect()
        self.assertEqual(self.connected_to(), ["192.0.2.1", "192.0.2.2"])

    def test_no_addresses(self) -> None:
        self.names.failure = OSError("no such host")
        failure = self.connect()
        assert failure is not None
        self.assertIn("logs.example", failure.getErrorMessage())
        self.assertNotIsInstance(failure.value, ConnectionRefusedError)
