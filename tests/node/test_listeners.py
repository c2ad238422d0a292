# SPDX-License-Identifier: Apache-2.0

"""Opening ports: all or none, and one line that says why not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address, UNIXAddress
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.internet.protocol import Factory
from twisted.internet.testing import MemoryReactor
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.node.listeners import CannotListen, Listener, close_ports, describe, open_ports
from tests.doubles.interfaces import as_reactor


class BusyReactor(MemoryReactor):
    """Port 2 is taken, and the highest is 65535."""

    def listenTCP(
        self, port: int, factory: IProtocolFactory, backlog: int = 50, interface: str = ""
    ) -> IListeningPort:
        if port == 2:
            raise CannotListenError(interface, port, OSError(98, "Address already in use"))
        if port > 65_535:
            raise OverflowError("bind(): port must be 0-65535.")
        opened: IListeningPort = super().listenTCP(port, factory, backlog, interface)
        return opened


class OpenPortsTests(SynchronousTestCase):
    def test_every_port_is_opened_and_logged_with_its_address(self) -> None:
        reactor = MemoryReactor()
        listeners = [
            Listener("syslog", "tcp:1:interface=127.0.0.1", Factory()),
            Listener("logs", "tcp:3:interface=127.0.0.1", Factory()),
        ]
        with capturedLogs() as captured:
            ports = open_ports(as_reactor(reactor), listeners)
        self.assertEqual(len(ports), 2)
        self.assertEqual([server[0] for server in reactor.tcpServers], [1, 3])
        self.assertEqual(
            formatEvent(captured[0]).split(" on ")[0].removeprefix("listening: "), "syslog"
        )

    def test_one_that_is_taken_closes_the_others_and_is_named(self) -> None:
        closed: list[bool] = []

        class Reactor(BusyReactor):
            def listenTCP(self, *args: object, **kwargs: object) -> IListeningPort:
                port = super().listenTCP(*args, **kwargs)  # type: ignore[arg-type]
                port.stopListening = lambda: closed.append(True)  # type: ignore[method-assign]
                return port

        error = self.assertRaises(
            CannotListen,
            open_ports,
            Reactor(),
            [Listener("syslog", "tcp:1", Factory()), Listener("api", "tcp:2", Factory())],
        )
        self.assertEqual(str(error), "[listen] api = 'tcp:2': [Errno 98] Address already in use")
        self.assertEqual(closed, [True])

    def test_an_endpoint_that_is_none_is_named(self) -> None:
        error = self.assertRaises(
            CannotListen, open_ports, MemoryReactor(), [Listener("api", "nonsense:1", Factory())]
        )
        self.assertIn("[listen] api = 'nonsense:1'", str(error))

    def test_a_port_that_does_not_exist_is_named(self) -> None:
        error = self.assertRaises(
            CannotListen, open_ports, BusyReactor(), [Listener("api", "tcp:99999", Factory())]
        )
        self.assertEqual(str(error), "[listen] api = 'tcp:99999': bind(): port must be 0-65535.")

    def refused(self, listen: Callable[[], object]) -> str:
        """Return the error for an endpoint that behaves like this."""

        class Reactor(MemoryReactor):
            def listenTCP(self, *_: object, **__: object) -> Any:
                return listen()

        listeners = [Listener("api", "tcp:1", Factory())]
        error = self.assertRaises(CannotListen, open_ports, Reactor(), listeners)
        return str(error)

    def test_an_endpoint_without_port_is_named(self) -> None:
        """An endpoint such as ``stdio:`` opens something else."""
        self.assertEqual(self.refused(object), "[listen] api = 'tcp:1': it does not open a port")

    def test_any_error_of_an_endpoint_is_one_line(self) -> None:
        for raised, shown in (
            (AssertionError(), "AssertionError"),
            (RuntimeError("one\n  two"), "one two"),
        ):

            def listen(raised: Exception = raised) -> None:
                raise raised

            self.assertEqual(self.refused(listen), f"[listen] api = 'tcp:1': {shown}")

    def test_closing_fires_when_all_are_closed(self) -> None:
        ports = open_ports(as_reactor(MemoryReactor()), [Listener("api", "tcp:1", Factory())])
        self.assertEqual(self.successResultOf(close_ports(ports)), [])
        self.assertEqual(self.successResultOf(close_ports([])), [])

    def test_addresses_are_described_as_people_write_them(self) -> None:
        self.assertEqual(describe(IPv4Address("TCP", "127.0.0.1", 1)), "tcp 127.0.0.1:1")
        self.assertEqual(describe(IPv6Address("TCP", "::1", 1)), "tcp [::1]:1")
        self.assertEqual(describe(UNIXAddress("/run/l.sock")), "unix /run/l.sock")
