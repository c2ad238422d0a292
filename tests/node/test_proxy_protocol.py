# SPDX-License-Identifier: Apache-2.0

"""The PROXY protocol before other protocols."""

from __future__ import annotations

import struct

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IAddress, IProtocol
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.node.listeners import Listener, open_ports
from logplex.node.proxy_protocol import MAX_V2_BYTES, BadHeader, read_header
from tests.doubles.interfaces import as_reactor

SIGNATURE = b"\r\n\r\n\0\r\nQUIT\n"


def v2(command: int, family: int, rest: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack("!H", len(rest)) + rest


TCP4 = v2(0x21, 0x11, bytes([192, 0, 2, 7, 192, 0, 2, 8]) + struct.pack("!HH", 7_000, 601))
TCP6 = v2(0x21, 0x21, b"\0" * 15 + b"\1" + b"\0" * 15 + b"\2" + struct.pack("!HH", 7_000, 601))
FOUR = IPv4Address("TCP", "192.0.2.7", 7_000), IPv4Address("TCP", "192.0.2.8", 601)
SIX = IPv6Address("TCP", "::1", 7_000), IPv6Address("TCP", "::2", 601)

GOOD: list[tuple[bytes, tuple[IAddress | None, IAddress | None]]] = [
    (b"PROXY UNKNOWN\r\n", (None, None)),
    (b"PROXY UNKNOWN ffff::1 ffff::2 65535 65535\r\n", (None, None)),
    (b"PROXY TCP4 192.0.2.7 192.0.2.8 7000 601\r\n", FOUR),
    (b"PROXY TCP6 ::1 0:0:0:0:0:0:0:2 7000 601\r\n", SIX),
    (TCP4, FOUR),
    (TCP6, SIX),
    (v2(0x21, 0x11, TCP4[16:] + b"\x03\0\x04abcd"), FOUR),
    (v2(0x20, 0x00, b""), (None, None)),
    (v2(0x20, 0x11, TCP4[16:]), (None, None)),
    (v2(0x21, 0x00, b""), (None, None)),
    (v2(0x21, 0x31, b"\0" * 216), (None, None)),
]


class HeaderTests(SynchronousTestCase):
    """The header at the beginning of a connection."""

    def test_good(self) -> None:
        for data, addresses in GOOD:
            header = read_header(data + b"more")
            assert header is not None, data
            self.assertEqual((header.source, header.target), addresses)
            self.assertEqual(header.size_bytes, len(data))

    def test_pieces(self) -> None:
        """A header may come in any number of pieces."""
        for data, _ in GOOD:
            for size in range(len(data)):
                self.assertIsNone(read_header(data[:size]))

    def test_bad(self) -> None:
        for data in (
            b"GET / HTTP/1.1\r\n",
            b"<14>1 ",
            b"PROXYUNKNOWN\r\n",
            b"PROXY UNKNOWNX\r\n",
            b"PROXY TCP4 192.0.2.7 192.0.2.8 7000\r\n",
            b"PROXY TCP4 192.0.2.256 192.0.2.8 7000 601\r\n",
            b"PROXY TCP4 ::1 ::2 7000 601\r\n",
            b"PROXY TCP5 ::1 ::2 7000 601\r\n",
            b"PROXY " + b"x" * 200,
            v2(0x31, 0x11, TCP4[16:]),
            v2(0x22, 0x11, TCP4[16:]),
            v2(0x21, 0x11, b"\0" * 11),
            v2(0x21, 0x11, b"\0" * MAX_V2_BYTES),
        ):
            with self.assertRaises(BadHeader):
                read_header(data)

    @given(st.binary(max_size=200) | st.binary(max_size=50).map(SIGNATURE.__add__))
    def test_any(self, data: bytes) -> None:
        try:
            header = read_header(data)
        except BadHeader:
            return
        self.assertLessEqual(header.size_bytes if header else 0, len(data))


class Inner(Protocol):
    received = b""
    lost = False

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = True

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class ListenerTests(SynchronousTestCase):
    """A listener whose endpoint begins with ``haproxy:``."""

    def connect(self) -> tuple[IProtocol, StringTransport]:
        reactor = self.reactor = MemoryReactorClock()
        self.inner = Inner()
        factory = Factory.forProtocol(lambda: self.inner)
        open_ports(as_reactor(reactor), [Listener("syslog", "haproxy:tcp:1", factory)])
        transport = StringTransport()
        outer = reactor.tcpServers[0][1].buildProtocol(transport.getPeer())
        assert outer is not None
        outer.makeConnection(transport)
        return outer, transport

    def test_taken(self) -> None:
        for data, (source, _) in GOOD:
            outer, transport = self.connect()
            for byte in (data + b"hello").partition(b"hel"):
                outer.dataReceived(byte)
            self.assertEqual(self.inner.received, b"hello")
            assert self.inner.transport is not None
            self.assertEqual(self.inner.transport.getPeer(), source or transport.getPeer())
            outer.dataReceived(b" again")
            self.assertEqual(self.inner.received, b"hello again")

    def test_no_header(self) -> None:
        """The protocol above begins with the header, which must come in time."""
        outer, transport = self.connect()
        outer.dataReceived(b"PROXY ")
        self.assertIsNone(self.inner.transport)
        self.reactor.advance(4.9)
        self.assertFalse(transport.disconnecting)
        self.reactor.advance(0.1)
        self.assertTrue(transport.disconnecting)
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertFalse(self.inner.lost)

    def test_lost(self) -> None:
        outer, _ = self.connect()
        outer.dataReceived(b"PROXY UNKNOWN\r\n")
        outer.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.inner.lost)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_refused(self) -> None:
        outer, transport = self.connect()
        with capturedLogs() as events:
            outer.dataReceived(b"<14>1 x\n")
            outer.dataReceived(b"<14>1 x\n")
        self.assertTrue(transport.disconnecting)
        self.assertEqual(self.inner.received, b"")
        self.assertEqual(
            [formatEvent(event) for event in events],
            ["a connection from 192.168.1.1 has no header of the PROXY protocol"],
        )
