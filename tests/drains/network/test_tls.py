# SPDX-License-Identifier: Apache-2.0

"""Certificates of receivers: handshakes in memory, with good and bad ones."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import trustme
from twisted.internet.address import IPv4Address
from twisted.internet.interfaces import IHandshakeListener
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import CertificateOptions, KeyPair, PrivateCertificate, TLSVersion
from twisted.internet.task import Clock
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.test.iosim import connect, makeFakeClient, makeFakeServer
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer

from logplex.certificates import BadPem
from logplex.drains.network.errors import CertificateRejected
from logplex.drains.network.tls import Trust
from tests.doubles.receivers import ScriptedEndpoint

HOST = "logs.example"


@cache
def authority(name: str) -> trustme.CA:
    return trustme.CA(organization_name=name)


@cache
def certificate(*names: str, ca: str = "ours") -> trustme.LeafCert:
    return authority(ca).issue_cert(*names)


@cache
def expired() -> trustme.LeafCert:
    return authority("ours").issue_cert(HOST, not_after=datetime(2020, 1, 1, tzinfo=UTC))


@implementer(IHandshakeListener)
class Client(Protocol):
    """Remembers how the handshake ended."""

    secured = False
    lost: BaseException | None = None

    def handshakeCompleted(self) -> None:
        self.secured = True

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.lost = reason.value


class TlsCase(SynchronousTestCase):
    def setUp(self) -> None:
        directory = TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.directory = Path(directory.name)

    def pem(self, *blobs: trustme.Blob) -> str:
        path = self.directory / "certificates.pem"
        path.write_bytes(b"".join(blob.bytes() for blob in blobs))
        return str(path)

    def trust(self) -> Trust:
        """Trusts our authority."""
        return Trust(self.pem(authority("ours").cert_pem))

    def handshake(
        self,
        trust: Trust,
        shown: trustme.LeafCert,
        host: str = HOST,
        verify: bool = True,
        newest: TLSVersion | None = None,
    ) -> Client:
        """Return the result of a connection to a server that shows this certificate."""
        pem = shown.private_key_and_cert_chain_pem.bytes()
        own = PrivateCertificate.fromCertificateAndKeyPair(
            PrivateCertificate.loadPEM(pem), KeyPair.load(pem, 1)
        )
        options = CertificateOptions(
            privateKey=own.privateKey.original,
            certificate=own.original,
            insecurelyLowerMinimumTo=newest and TLSVersion.TLSv1_0,
            lowerMaximumSecurityTo=newest,
        )
        clock = Clock()
        servers = TLSMemoryBIOFactory(options, False, Factory.forProtocol(Protocol), clock)
        endpoint = ScriptedEndpoint()
        trust.secured(endpoint, host, verify, clock).connect(Factory.forProtocol(Client))
        server_side = servers.buildProtocol(None)
        client_side: Any = endpoint.attempts[0].factory.buildProtocol(IPv4Address("TCP", "", 0))
        client = client_side.wrappedProtocol
        assert isinstance(client, Client)
        pump = connect(
            server_side,
            makeFakeServer(server_side),
            client_side,
            makeFakeClient(client_side),
        )
        for _ in range(20):
            pump.flush()
            clock.advance(0)
        return client

    def assert_rejected(self, client: Client, reason: str) -> None:
        self.assertFalse(client.secured)
        self.assertIsInstance(client.lost, CertificateRejected)
        self.assertIn(reason, str(client.lost))


class Verifying(TlsCase):
    def test_good(self) -> None:
        self.assertTrue(self.handshake(self.trust(), certificate(HOST)).secured)

    def test_wildcard(self) -> None:
        shown = certificate("*.logs.example")
        self.assertTrue(self.handshake(self.trust(), shown, "a.logs.example").secured)
        self.assert_rejected(self.handshake(self.trust(), shown, HOST), "another host name")
        self.assert_rejected(self.handshake(self.trust(), certificate("*.example")), "wildcard")

    def test_address(self) -> None:
        """An address in the URL must stand in the certificate as an address."""
        self.assertTrue(self.handshake(self.trust(), certificate("192.0.2.1"), "192.0.2.1").secured)
        self.assertTrue(
            self.handshake(self.trust(), certificate("2001:db8::1"), "2001:db8::1").secured
        )
        self.assert_rejected(
            self.handshake(self.trust(), certificate("192.0.2.2"), "192.0.2.1"), "another host"
        )

    def test_another_name(self) -> None:
        self.assert_rejected(
            self.handshake(self.trust(), certificate("other.example")), "another host name"
        )

    def test_another_authority(self) -> None:
        self.assert_rejected(
            self.handshake(self.trust(), certificate(HOST, ca="theirs")),
            "unable to get local issuer certificate",
        )

    def test_expired(self) -> None:
        self.assert_rejected(self.handshake(self.trust(), expired()), "certificate has expired")

    def test_systems_roots(self) -> None:
        """Without a file the system's authorities count, and ours is none of them."""
        self.assert_rejected(
            self.handshake(Trust(), certificate(HOST)), "unable to get local issuer certificate"
        )

    def test_file_replaces_systems_roots(self) -> None:
        trust = Trust(self.pem(authority("theirs").cert_pem))
        self.assertTrue(self.handshake(trust, certificate(HOST, ca="theirs")).secured)
        self.assertFalse(self.handshake(trust, certificate(HOST)).secured)

    def test_insecure(self) -> None:
        """Without verification every certificate will do."""
        for shown in (certificate("other.example", ca="theirs"), expired()):
            self.assertTrue(self.handshake(Trust(), shown, verify=False).secured)

    def test_old_tls(self) -> None:
        """TLS 1.1 is not spoken, verified or not."""
        for verify in (True, False):
            client = self.handshake(
                self.trust(), certificate(HOST), verify=verify, newest=TLSVersion.TLSv1_1
            )
            self.assertFalse(client.secured)


class Pinning(TlsCase):
    """A pinned certificate is trusted as it is; nothing else changes."""

    def test_pinned(self) -> None:
        for shown in (certificate("other.example", ca="theirs"), expired()):
            trust = Trust("", self.pem(shown.cert_chain_pems[0]))
            self.assertTrue(self.handshake(trust, shown).secured)

    def test_pinned_text(self) -> None:
        """The certificate itself instead of a file's name."""
        shown = expired()
        trust = Trust("", "", shown.cert_chain_pems[0].bytes().decode())
        self.assertTrue(self.handshake(trust, shown).secured)

    def test_others_are_verified(self) -> None:
        trust = Trust(self.pem(authority("ours").cert_pem), self.pinned(expired()))
        self.assertTrue(self.handshake(trust, certificate(HOST)).secured)
        self.assert_rejected(self.handshake(trust, certificate("other.example")), "another host")
        self.assert_rejected(self.handshake(trust, certificate(HOST, ca="theirs")), "local issuer")

    def test_authority_is_no_receiver(self) -> None:
        """To pin an authority's certificate does not trust those that it issued."""
        pinned = self.directory / "pinned.pem"
        pinned.write_bytes(authority("theirs").cert_pem.bytes())
        trust = Trust(self.pem(authority("ours").cert_pem), str(pinned))
        self.assertFalse(self.handshake(trust, certificate(HOST, ca="theirs")).secured)

    def pinned(self, leaf: trustme.LeafCert) -> str:
        path = self.directory / "pinned.pem"
        path.write_bytes(leaf.cert_chain_pems[0].bytes())
        return str(path)


class Files(TlsCase):
    def test_missing(self) -> None:
        missing = str(self.directory / "missing.pem")
        error = self.assertRaises(BadPem, Trust, missing)
        self.assertEqual(str(error), f"[drains] ca_file: {missing!r}: No such file or directory")

    def test_not_pem(self) -> None:
        path = self.directory / "certificates.pem"
        path.write_text("hello")
        error = self.assertRaises(BadPem, Trust, "", str(path))
        self.assertIn("holds no certificate in PEM form", str(error))

    def test_text_is_not_pem(self) -> None:
        error = self.assertRaises(BadPem, Trust, "", "", "hello")
        self.assertEqual(
            str(error), "[drains] pinned_certificates: holds no certificate in PEM form"
        )
