# SPDX-License-Identifier: Apache-2.0

"""TLS for senders: the files, reloading them, and client certificates."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from OpenSSL import SSL
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocolFactory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.certificates import BadPem
from logplex.inputs import tls
from logplex.inputs.syslog import SyslogFactory
from logplex.inputs.tls import EXPIRY_WARNING_S, ServerTls
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits, Tls

CA = trustme.CA()
LEAF = CA.issue_cert("logs.example.com", common_name="first")
OTHER_LEAF = CA.issue_cert("logs.example.com", common_name="second")
CLIENTS_CA = trustme.CA()
CLIENT = CLIENTS_CA.issue_cert("sender.example.com")
LIMITS = Live(Limits(syslog_handshake_timeout_s=10, syslog_idle_timeout_s=100))


class TlsSender:
    """A sender's end of a TLS connection in memory."""

    def __init__(self, factory: Any, context: SSL.Context) -> None:
        self.transport = StringTransport()
        self.protocol = factory.buildProtocol(None)
        self.protocol.makeConnection(self.transport)
        self.connection = SSL.Connection(context, None)
        self.connection.set_connect_state()

    def handshake(self) -> None:
        """:raise SSL.Error: one of both does not want the other."""
        for _ in range(4):
            with contextlib.suppress(SSL.WantReadError):
                self.connection.do_handshake()
            self.exchange()

    def exchange(self) -> bytes:
        """Bring what each has to say to the other; what the server has said."""
        with contextlib.suppress(SSL.WantReadError):
            self.protocol.dataReceived(self.connection.bio_read(65_536))
        answer: bytes = self.transport.value()
        self.transport.clear()
        if answer:
            self.connection.bio_write(answer)
        return answer

    def write(self, data: bytes) -> None:
        self.connection.send(data)
        self.exchange()

    @property
    def server_name(self) -> str | None:
        """The common name of the server's certificate."""
        certificate = self.connection.get_peer_certificate()
        assert certificate is not None
        return certificate.get_subject().commonName


class TlsTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.routed: list[bytes] = []
        self.syslog = SyslogFactory(self.route, Counters(), LIMITS, self.clock)
        self.directory = Path(self.mktemp())
        self.directory.mkdir()

    def route(self, messages: list[bytes], unreadable: int) -> int:
        self.routed.extend(messages)
        return len(messages)

    def file(self, name: str, content: bytes) -> str:
        path = self.directory / name
        path.write_bytes(content)
        return str(path)

    def own(self, leaf: trustme.LeafCert = LEAF, **others: str) -> Tls:
        chain = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        return Tls(
            certificate_file=self.file("cert.pem", chain),
            key_file=self.file("key.pem", leaf.private_key_pem.bytes()),
            **others,
        )

    def factory(self, server_tls: ServerTls) -> IProtocolFactory:
        return server_tls.factory(self.syslog, self.clock)

    def context(self, client: trustme.LeafCert | None = None) -> SSL.Context:
        context = SSL.Context(SSL.TLS_CLIENT_METHOD)
        CA.configure_trust(context)
        if client:
            client.configure_cert(context)
        return context


class ConnectionTests(TlsTests):
    def test_messages(self) -> None:
        sender = TlsSender(self.factory(ServerTls(self.own())), self.context())
        sender.handshake()
        sender.write(b"9 <13>1 one9 <13>1 t")
        sender.write(b"wo")
        self.assertEqual(self.routed, [b"<13>1 one", b"<13>1 two"])

    def test_key_in_the_certificate_file(self) -> None:
        file = self.file("all.pem", LEAF.private_key_and_cert_chain_pem.bytes())
        sender = TlsSender(self.factory(ServerTls(Tls(certificate_file=file))), self.context())
        sender.handshake()
        self.assertEqual(sender.server_name, "first")

    def test_versions(self) -> None:
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            context = self.context()
            context.set_max_proto_version(version)
            sender = TlsSender(self.factory(ServerTls(self.own())), context)
            sender.handshake()
            self.assertEqual(sender.connection.get_protocol_version(), version)

    def test_without_tls(self) -> None:
        """Plain syslog and HTTP on the port of TLS are closed at once, and counted."""
        for data in (b"<13>1 2026-01-02T03:04:05Z h t p - - x\n", b"GET / HTTP/1.1\r\n\r\n"):
            sender = TlsSender(self.factory(ServerTls(self.own())), self.context())
            sender.protocol.dataReceived(data)
            self.assertTrue(sender.transport.disconnecting or sender.transport.disconnected)
            sender.protocol.connectionLost(Failure(ConnectionDone()))
        counts = {
            sample.labels["protocol"]: sample.value
            for sample in self.syslog.samples()
            if sample.name == "logplex_connections_wrong_protocol"
        }
        self.assertEqual(counts, {"plain": 2})
        self.assertEqual(self.routed, [])

    def test_paused(self) -> None:
        """The pause of the factory reaches through TLS."""
        tls_factory = self.factory(ServerTls(self.own()))
        sender = TlsSender(tls_factory, self.context())
        self.syslog.pause()
        self.assertEqual(sender.transport.producerState, "paused")
        self.syslog.resume()
        self.assertEqual(sender.transport.producerState, "producing")


class HandshakeTests(TlsTests):
    """A handshake has its own time limit, because the sender is not known before it."""

    def setUp(self) -> None:
        super().setUp()
        self.tls_factory = self.factory(ServerTls(self.own()))
        self.sender = TlsSender(self.tls_factory, self.context())

    def test_never_begun(self) -> None:
        """It is cut off, and the log says so."""
        self.clock.advance(9)
        self.assertFalse(self.sender.transport.disconnected)
        with capturedLogs() as captured:
            self.clock.advance(1)
        self.assertTrue(self.sender.transport.disconnected)
        self.assertIn("the TLS handshake timed out", formatEvent(captured[0]) or "")

    def test_byte_by_byte(self) -> None:
        """A client that sends a little again and again gets no more time."""
        with contextlib.suppress(SSL.WantReadError):
            self.sender.connection.do_handshake()
        hello = self.sender.connection.bio_read(65_536)
        for place in range(10):
            self.assertFalse(self.sender.transport.disconnected)
            self.sender.protocol.dataReceived(hello[place : place + 1])
            self.clock.advance(1)
        self.assertTrue(self.sender.transport.disconnected)

    def test_finished(self) -> None:
        """From then on it is the silence that counts."""
        self.clock.advance(9)
        self.sender.handshake()
        self.clock.advance(99)
        self.sender.write(b"9 <13>1 one")
        self.clock.advance(99)
        self.sender.write(b"9 <13>1 two")
        self.assertEqual(self.routed, [b"<13>1 one", b"<13>1 two"])
        self.clock.advance(100)
        self.assertTrue(self.sender.protocol.wrappedProtocol.disconnecting)

    def test_paused(self) -> None:
        """A node that does not read yet logs no mistake of a sender."""
        self.syslog.pause()
        self.clock.advance(60)
        self.syslog.resume()
        self.clock.advance(9)
        self.assertFalse(self.sender.transport.disconnected)
        self.clock.advance(11)
        self.assertTrue(self.sender.transport.disconnected)

    def test_without_tls(self) -> None:
        """Plain connections have none."""
        sender = self.syslog.buildProtocol(IPv4Address("TCP", "h", 1))
        assert sender is not None
        transport = StringTransport()
        sender.makeConnection(transport)
        self.clock.advance(99)
        self.assertFalse(transport.disconnecting)


class SilenceTests(TlsTests):
    """Nothing is said after the handshake that a sender who never reads would leave unread."""

    def setUp(self) -> None:
        super().setUp()
        self.tls_factory = self.factory(ServerTls(self.own()))

    def sender(self, version: int) -> TlsSender:
        context = self.context()
        context.set_max_proto_version(version)
        return TlsSender(self.tls_factory, context)

    def shake_hands(self) -> tuple[TlsSender, bytes]:
        """A sender with TLS 1.3, and what he is told when he has said the last word."""
        sender = self.sender(SSL.TLS1_3_VERSION)
        with self.assertRaises(SSL.WantReadError):
            sender.connection.do_handshake()
        self.assertNotEqual(sender.exchange(), b"")
        sender.connection.do_handshake()
        return sender, sender.exchange()

    def test_no_tickets(self) -> None:
        """Not at the end of the handshake, and not later."""
        sender, said = self.shake_hands()
        self.assertEqual(said, b"")
        sender.connection.send(b"9 <13>1 one")
        self.assertEqual((sender.exchange(), self.routed), (b"", [b"<13>1 one"]))

    def test_bound(self) -> None:
        """Too much held-back data is reported after all."""
        self.patch(tls, "MAX_HELD_BYTES", 100)
        _, said = self.shake_hands()
        self.assertGreater(len(said), 100)

    def test_closed(self) -> None:
        """The notice that we close comes through, in both versions."""
        for version in (SSL.TLS1_2_VERSION, SSL.TLS1_3_VERSION):
            sender = self.sender(version)
            sender.handshake()
            sender.protocol.wrappedProtocol.loseConnection()
            sender.exchange()
            with self.assertRaises(SSL.ZeroReturnError):
                sender.connection.recv(1)


class ClientCertificateTests(TlsTests):
    def setUp(self) -> None:
        super().setUp()
        ca = self.file("ca.pem", CA.cert_pem.bytes() + CLIENTS_CA.cert_pem.bytes())
        self.tls_factory = self.factory(ServerTls(self.own(client_ca_file=ca)))

    def test_of_a_known_authority(self) -> None:
        for client in (CLIENT, OTHER_LEAF):
            sender = TlsSender(self.tls_factory, self.context(client))
            sender.handshake()
            sender.write(b"9 <13>1 one")
        self.assertEqual(self.routed, [b"<13>1 one", b"<13>1 one"])

    def refused(self, client: trustme.LeafCert | None) -> None:
        sender = TlsSender(self.tls_factory, self.context(client))
        with self.assertRaises(SSL.Error):
            # In TLS 1.3 the client learns of it after the handshake.
            sender.handshake()
            sender.write(b"9 <13>1 one")
            sender.connection.recv(1)
        self.assertEqual(self.routed, [])

    def test_of_an_intermediate_authority(self) -> None:
        """An authority is trusted without its root, and only for what it signed."""
        intermediate = CLIENTS_CA.create_child_ca()
        ca = self.file("ca.pem", intermediate.cert_pem.bytes())
        self.tls_factory = self.factory(ServerTls(self.own(client_ca_file=ca)))
        sender = TlsSender(
            self.tls_factory, self.context(intermediate.issue_cert("sender.example.com"))
        )
        sender.handshake()
        sender.write(b"9 <13>1 one")
        self.assertEqual(self.routed, [b"<13>1 one"])
        self.routed.clear()
        self.refused(CLIENT)

    def test_missing(self) -> None:
        self.refused(None)

    def test_of_an_unknown_authority(self) -> None:
        self.refused(trustme.CA().issue_cert("sender.example.com"))


class ExpiryTests(TlsTests):
    """A certificate that ends."""

    def test_told_in_its_last_14_days(self) -> None:
        end = datetime(2040, 3, 4, tzinfo=UTC)
        leaf = CA.issue_cert("logs.example.com", not_after=end)
        server = ServerTls(self.own(leaf))
        (sample,) = server.samples()
        self.assertEqual(sample.value, end.timestamp())
        at_s = end.timestamp() - EXPIRY_WARNING_S
        ends = ["the certificate of [tls] ends on 2040-03-04"]
        told = [server.troubles(at_s + more_s) for more_s in (-1, 0, 1)]
        self.assertEqual(told, [[], ends, ends])
        self.assertEqual(
            server.troubles(end.timestamp()), ["the certificate of [tls] has ended on 2040-03-04"]
        )

    def test_reload_tells_another_certificate(self) -> None:
        server = ServerTls(self.own(LEAF))
        self.assertFalse(server.reload(self.own(LEAF)))
        self.assertTrue(server.reload(self.own(OTHER_LEAF)))


class ReloadTests(TlsTests):
    def test_new_connections(self) -> None:
        """They see the new certificate; those that are open go on."""
        server_tls = ServerTls(self.own())
        tls_factory = self.factory(server_tls)
        old = TlsSender(tls_factory, self.context())
        old.handshake()
        server_tls.reload(self.own(OTHER_LEAF))
        new = TlsSender(tls_factory, self.context())
        new.handshake()
        old.write(b"9 <13>1 old")
        self.assertEqual((old.server_name, new.server_name), ("first", "second"))
        self.assertEqual(self.routed, [b"<13>1 old"])

    def test_unusable(self) -> None:
        """Then all stays as it was."""
        server_tls = ServerTls(self.own())
        with self.assertRaises(BadPem):
            server_tls.reload(Tls(certificate_file="missing.pem"))
        sender = TlsSender(self.factory(server_tls), self.context())
        sender.handshake()
        self.assertEqual(sender.server_name, "first")


class FileTests(TlsTests):
    """A wrong file is reported in one line."""

    def wrong(self, why: str, **files: str) -> None:
        with self.assertRaisesRegex(BadPem, why) as raised:
            ServerTls(Tls(**files))
        self.assertNotIn("\n", str(raised.exception))

    def test_missing(self) -> None:
        self.wrong(
            r"\[tls\] certificate_file: '/missing.pem': No such file",
            certificate_file="/missing.pem",
        )

    def test_no_certificate(self) -> None:
        for content in (b"", b"garbage", LEAF.private_key_pem.bytes()):
            file = self.file("bad.pem", content)
            self.wrong("certificate_file: .* holds no certificate", certificate_file=file)

    def test_no_key(self) -> None:
        tls = self.own()
        for key in (b"", b"garbage", LEAF.cert_chain_pems[0].bytes()):
            self.wrong(
                "key_file: .* holds no private key",
                certificate_file=tls.certificate_file,
                key_file=self.file("bad.pem", key),
            )
        self.wrong(
            "certificate_file: .* holds no private key", certificate_file=tls.certificate_file
        )

    def test_encrypted_key(self) -> None:
        """Nobody is asked for a password."""
        key = load_pem_private_key(LEAF.private_key_pem.bytes(), None)
        encrypted = key.private_bytes(
            Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret")
        )
        self.wrong(
            "key_file: .* is encrypted",
            certificate_file=self.own().certificate_file,
            key_file=self.file("bad.pem", encrypted),
        )

    def test_another_key(self) -> None:
        self.wrong(
            "key_file: .* is not the key of",
            certificate_file=self.own().certificate_file,
            key_file=self.file("bad.pem", OTHER_LEAF.private_key_pem.bytes()),
        )

    def test_no_authority(self) -> None:
        tls = self.own()
        self.wrong(
            "client_ca_file: .* holds no certificate",
            certificate_file=tls.certificate_file,
            key_file=tls.key_file,
            client_ca_file=self.file("ca.pem", b"garbage"),
        )
