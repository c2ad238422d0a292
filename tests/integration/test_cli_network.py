# SPDX-License-Identifier: Apache-2.0

"""
The ``logplex`` command over TLS, and through a proxy.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

import trustme
from twisted.internet import reactor as _reactor
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IReactorTCP
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate, KeyPair, PrivateCertificate
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from tests.integration.cases import IntegrationTestCase
from tests.integration.process import Child, Ended, within

reactor = cast(Any, _reactor)


class Credentials(Resource):
    """An API without credentials."""

    isLeaf = True

    def render_GET(self, request: Request) -> bytes:
        return b'{"credentials": []}'


class Relay(Protocol):
    """One side of a tunnel."""

    other: Any = None

    def dataReceived(self, data: bytes) -> None:
        self.other.transport.write(data)

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.other.transport.loseConnection()


class ProxySide(Relay):
    """
    A proxy that connects everything to one port of this machine.

    :ivar heads: the heads of all requests.
    """

    heads: list[bytes]
    port: int

    def dataReceived(self, data: bytes) -> None:
        if self.other is not None:
            super().dataReceived(data)
            return
        self.heads.append(data)
        endpoint = TCP4ClientEndpoint(cast(IReactorTCP, reactor), "127.0.0.1", self.port)
        connectProtocol(endpoint, Relay()).addCallback(self.opened)

    def opened(self, other: Relay) -> None:
        self.other, other.other = other, self
        assert self.transport is not None
        self.transport.write(b"HTTP/1.1 200 OK\r\n\r\n")


class NetworkTests(IntegrationTestCase):
    """A server with a certificate of an authority of one's own."""

    def setUp(self) -> None:
        self.authority = trustme.CA()
        self.home = self.directory()
        self.ca_file = self.home / "ca.pem"
        self.authority.cert_pem.write_to_path(str(self.ca_file))

    def server(self, *names: str, authority: trustme.CA | None = None) -> int:
        """Return the port of a server with a certificate for these names."""
        leaf = (authority or self.authority).issue_cert(*names)
        pem = b"".join(blob.bytes() for blob in leaf.cert_chain_pems)
        key = leaf.private_key_pem.bytes()
        certificate = PrivateCertificate.fromCertificateAndKeyPair(
            Certificate.loadPEM(pem), KeyPair.load(key, 1)
        )
        port = reactor.listenSSL(
            0, Site(Credentials()), certificate.options(), interface="127.0.0.1"
        )
        self.addCleanup(port.stopListening)
        return int(port.getHost().port)

    async def listed(self, url: str, *options: str | Path, **environ: str) -> Ended:
        command = [sys.executable, "-m", "logplex.cli.main", "credential", "list", "--api", url]
        child = Child.spawn([*command, *options], self.home, {"HOME": str(self.home), **environ})
        self.addCleanup(child.end)
        return await within(child.ended(), "the command ends")

    async def test_authority(self) -> None:
        port = self.server("localhost")
        ended = await self.listed(f"https://localhost:{port}", "--ca-file", self.ca_file)
        self.assertEqual((ended.status, ended.output), (0, ""))
        ended = await self.listed(f"https://localhost:{port}", LOGPLEX_CA_FILE=str(self.ca_file))
        self.assertEqual((ended.status, ended.output), (0, ""))

    async def test_reasons(self) -> None:
        """The error gives the reason, as a drain does."""
        port = self.server("localhost")
        ended = await self.listed(f"https://localhost:{port}")
        self.assertEqual(ended.status, 3)
        self.assertIn("unable to get local issuer certificate", ended.output)
        ended = await self.listed(f"https://127.0.0.1:{port}", "--ca-file", self.ca_file)
        self.assertEqual(ended.status, 3)
        self.assertIn("its certificate is for another name", ended.output)

    async def test_wrong_file(self) -> None:
        for file, why in (
            (self.home / "none.pem", "No such file"),
            (Path(__file__), "certificate"),
        ):
            ended = await self.listed("https://localhost:1", "--ca-file", file)
            self.assertEqual(ended.status, 2, ended)
            self.assertRegex(ended.output, f"^logplex: --ca-file: .*{why}")

    async def test_tunnel(self) -> None:
        """A proxy resolves the server's name, and sees neither path nor credential."""
        heads: list[bytes] = []
        port = self.server("logplex.example.com")

        class Proxy(ProxySide):
            pass

        Proxy.heads, Proxy.port = heads, port
        listener = reactor.listenTCP(0, Factory.forProtocol(Proxy), interface="127.0.0.1")
        self.addCleanup(listener.stopListening)
        ended = await self.listed(
            "https://logplex.example.com",
            "--ca-file",
            self.ca_file,
            https_proxy=f"http://127.0.0.1:{listener.getHost().port}",
            LOGPLEX_CREDENTIAL="admin:secret",
        )
        self.assertEqual((ended.status, ended.output), (0, ""))
        self.assertEqual(
            heads,
            [b"CONNECT logplex.example.com:443 HTTP/1.1\r\nHost: logplex.example.com:443\r\n\r\n"],
        )
