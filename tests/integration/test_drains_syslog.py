# SPDX-License-Identifier: Apache-2.0

"""Syslog drains against receivers that read, and receivers that do not."""

from __future__ import annotations

import trustme
from attrs import evolve
from twisted.internet.protocol import DatagramProtocol, Factory, Protocol

from logplex.settings import DrainSettings
from tests.integration.drains import DrainsTestCase, listen_tls, message, numbers
from tests.integration.process import reactor, until
from tests.integration.receivers import TcpReceiver, octet_frames

#: Times that a test can wait for.
QUICK = DrainSettings(shared_buffer_bytes=0, syslog_stall_timeout_s=0.3, syslog_backoff_max_s=0.2)


class Deaf(Protocol):
    """Reads something, so that TLS comes about, and then nothing."""

    def dataReceived(self, data: bytes) -> None:
        self.transport.pauseProducing()  # type: ignore[union-attr]


class TcpTests(DrainsTestCase):
    options = QUICK

    def setUp(self) -> None:
        super().setUp()
        self.tcp = self.receiver(TcpReceiver())

    async def test_in_order(self) -> None:
        """Ten thousand messages arrive once, in order, over one connection."""
        drain = self.drain(self.tcp.url)
        for first in range(0, 10_000, 500):
            self.push(drain, first, 500)
            await self.tcp.received(first + 500)
        self.assertEqual(numbers(self.tcp.frames), list(range(10_000)))
        self.assertEqual(self.tcp.connects, 1)
        self.assertEqual((await self.settled(drain)).delivered, 10_000)

    async def test_down_and_up(self) -> None:
        """A receiver that was down gets all that the buffer held, and the exact count of the
        rest first."""
        await self.tcp.down()
        drain = self.drain(self.tcp.url)
        for first in range(0, 3_000, 100):
            self.push(drain, first, 100)
        await self.failed(drain)
        self.tcp.up()
        await self.tcp.received(1_025)
        self.assertEqual(numbers(self.tcp.frames), list(range(1_976, 3_000)))
        self.assertIn(b": 1976 messages dropped since 20", self.tcp.frames[0])

    async def test_reader_that_stops(self) -> None:
        """A receiver that reads nothing is left after a while; what the kernel had not taken goes
        to the next connection, and nothing is missing or double behind that."""
        deaf = reactor.listenTCP(0, Factory.forProtocol(Deaf), interface="127.0.0.1")
        self.addCleanup(deaf.stopListening)
        drain = self.drain(f"syslog://127.0.0.1:{deaf.getHost().port}")
        self.push(drain, 0, 1_000, "x" * 9_000)
        self.assertIn("read nothing", await self.failed(drain))
        taken = self.status(drain).delivered
        self.assertLess(taken, 1_000)
        self.move(drain, self.tcp.url)
        await self.tcp.received(1_000 - taken)
        self.assertEqual(numbers(self.tcp.frames), list(range(taken, 1_000)))

    async def test_closes(self) -> None:
        """A receiver that goes and comes again: the drain follows; every message is delivered or
        dropped, and what came is in order."""
        drain = self.drain(self.tcp.url)
        for turn in range(5):
            self.push(drain, turn * 100, 100)
            await self.settled(drain)
            await self.tcp.down()
            self.tcp.up()
        self.push(drain, 500, 1)
        await self.settled(drain)
        came = numbers(self.tcp.frames)
        self.assertEqual(came, sorted(came))

    async def test_test(self) -> None:
        """A test message takes the same way."""
        drain = self.drain(self.tcp.url)
        self.assertTrue((await self.drains.test(drain.id)).delivered)
        [frame] = await self.tcp.received(1)
        self.assertIn(b" d.1 heroku logplex - - Test message of Logplex\n", frame)
        self.assertEqual(self.status(drain).received, 0)


class _Frames(Protocol):
    """Keeps octet-counted frames."""

    def __init__(self, frames: list[bytes]) -> None:
        self._frames = frames
        self._partial = b""

    def dataReceived(self, data: bytes) -> None:
        frames, self._partial = octet_frames(self._partial + data)
        self._frames += frames


class TlsTests(DrainsTestCase):
    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.pinned = trustme.CA().issue_cert("other.example")
        directory = self.directory()
        self.authority.cert_pem.write_to_path(str(directory / "ca.pem"))
        self.pinned.cert_chain_pems[0].write_to_path(str(directory / "pinned.pem"))
        self.options = evolve(
            QUICK, ca_file=str(directory / "ca.pem"), pinned_file=str(directory / "pinned.pem")
        )
        super().setUp()
        self.frames: list[bytes] = []

    def url(self, certificate: trustme.LeafCert) -> str:
        factory = Factory()
        factory.protocol = lambda: _Frames(self.frames)
        return f"syslog+tls://localhost:{listen_tls(self, certificate, factory)}"

    async def received(self, count: int) -> None:
        async def look() -> bool:
            return len(self.frames) >= count

        await until(look, f"{count} frames")

    async def test_in_order(self) -> None:
        """Pieces are paced over TLS too: what is delivered has arrived."""
        drain = self.drain(self.url(self.authority.issue_cert("localhost")))
        for first in range(0, 5_000, 1_000):
            self.push(drain, first, 1_000, "x" * 200)
            await self.received(first + 1_000)
        self.assertEqual(numbers(self.frames), list(range(5_000)))
        self.assertEqual((await self.settled(drain)).delivered, 5_000)

    async def test_reader_that_stops(self) -> None:
        port = listen_tls(self, self.authority.issue_cert("localhost"), Factory.forProtocol(Deaf))
        drain = self.drain(f"syslog+tls://localhost:{port}")
        self.push(drain, 0, 1_000, "x" * 9_000)
        self.assertIn("read nothing", await self.failed(drain))
        taken = self.status(drain).delivered
        self.move(drain, self.url(self.authority.issue_cert("localhost")))
        await self.received(1_000 - taken)
        self.assertEqual(numbers(self.frames), list(range(taken, 1_000)))

    async def test_pinned(self) -> None:
        drain = self.drain(self.url(self.pinned))
        self.push(drain, 0, 1)
        await self.received(1)

    async def test_rejected(self) -> None:
        drain = self.drain(self.url(trustme.CA().issue_cert("localhost")))
        self.push(drain, 0, 1)
        self.assertIn("unable to get local issuer", await self.failed(drain))
        self.assertIn(b"Error L14 ", self.told[0])
        self.assertEqual(self.frames, [])

    async def test_deleted(self) -> None:
        """A drain that is deleted delivers what it holds, over TLS too."""
        drain = self.drain(self.url(self.authority.issue_cert("localhost")))
        self.push(drain, 0, 1_000, "x" * 200)
        self.delete(drain)
        await self.received(1_000)


class _Datagrams(DatagramProtocol):
    def __init__(self) -> None:
        self.datagrams: list[bytes] = []

    def datagramReceived(self, datagram: bytes, addr: object) -> None:
        self.datagrams.append(datagram)


class UdpTests(DrainsTestCase):
    options = QUICK

    async def test_datagrams(self) -> None:
        """One message a datagram, over IPv4 and by name."""
        for host in ("127.0.0.1", "localhost"):
            receiver = _Datagrams()
            port = reactor.listenUDP(0, receiver, interface="127.0.0.1")
            self.addCleanup(port.stopListening)
            drain = self.drain(f"syslog+udp://{host}:{port.getHost().port}")
            self.push(drain, 0, 100)

            async def look(receiver: _Datagrams = receiver) -> bool:
                return len(receiver.datagrams) == 100

            await until(look, "100 datagrams")
            token = drain.token.encode()
            self.assertEqual(
                receiver.datagrams,
                [message(number).replace(b"web-7", token) for number in range(100)],
            )

    async def test_nobody_listens(self) -> None:
        """An ICMP error of the other host is a failure, and the drain's status shows it."""
        port = reactor.listenUDP(0, _Datagrams(), interface="127.0.0.1")
        number = port.getHost().port
        await port.stopListening()
        drain = self.drain(f"syslog+udp://127.0.0.1:{number}")
        self.push(drain, 0, 1)
        self.assertIn("no program listens", await self.failed(drain))
