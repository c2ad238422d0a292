# SPDX-License-Identifier: Apache-2.0

"""The way of a request to its server: directly, or through a proxy."""

from __future__ import annotations

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.client import URI
from zope.interface import implementer

from logplex.cli.client.agent import (
    MAX_PROXY_HEAD_BYTES,
    CommandAgent,
    Proxy,
    ProxyFailed,
    TunnelEndpoint,
    proxy_for,
)


class ProxyTests(SynchronousTestCase):
    """The proxy that the environment names for a URL."""

    def test_variables(self) -> None:
        for url, environ, expected in (
            ("http://a.example", {}, None),
            ("http://a.example", {"http_proxy": "http://proxy:3128"}, ("proxy", 3128)),
            ("http://a.example", {"http_proxy": "proxy:3128"}, ("proxy", 3128)),
            ("http://a.example", {"http_proxy": "http://proxy"}, ("proxy", 80)),
            ("http://a.example", {"http_proxy": "http://[::1]:3128/"}, ("::1", 3128)),
            ("http://a.example", {"https_proxy": "http://proxy:3128"}, None),
            ("https://a.example", {"https_proxy": "http://proxy:3128"}, ("proxy", 3128)),
            ("https://a.example", {"HTTPS_PROXY": "http://proxy:3128"}, ("proxy", 3128)),
            ("https://a.example", {"all_proxy": "http://proxy:3128"}, ("proxy", 3128)),
            ("https://a.example", {"https_proxy": "", "ALL_PROXY": "http://all:1"}, ("all", 1)),
            # A web server passes the header "Proxy" of a request in this variable.
            ("http://a.example", {"HTTP_PROXY": "http://proxy:3128"}, None),
        ):
            found = proxy_for(url, environ)
            self.assertEqual(found and (found.host, found.port), expected, environ)

    def test_no_proxy(self) -> None:
        for host, excluded, is_direct in (
            ("a.example", "", False),
            ("a.example", "a.example", True),
            ("A.example", "a.Example", True),
            ("a.example", "example", True),
            ("a.example", ".example", True),
            ("a.example", "other, example", True),
            ("aexample", "example", False),
            ("a.example", "le", False),
            ("a.example", "*", True),
            ("192.0.2.1", "192.0.2.1", True),
        ):
            environ = {"http_proxy": "http://proxy:1", "no_proxy": excluded}
            found = proxy_for(f"http://{host}", environ)
            self.assertEqual(found is None, is_direct, (host, excluded))

    def test_this_machine(self) -> None:
        for host in ("localhost", "127.0.0.1", "127.9.9.9", "[::1]"):
            self.assertIsNone(proxy_for(f"http://{host}:8002", {"http_proxy": "http://proxy:1"}))

    def test_authorization(self) -> None:
        found = proxy_for("http://a.example", {"http_proxy": "http://us%40r:pass@proxy:1"})
        self.assertEqual(found, Proxy("proxy", 1, b"Basic dXNAcjpwYXNz"))
        self.assertNotIn("dXNAcjpwYXNz", repr(found))

    def test_unusable(self) -> None:
        for text in ("socks5://proxy:1", "https://proxy:1", "http://", "http://proxy:x"):
            with self.assertRaises(ProxyFailed):
                proxy_for("http://a.example", {"http_proxy": text})


@implementer(IStreamClientEndpoint)
@define(eq=False)
class Line:
    """An endpoint with one connection in memory."""

    transport: StringTransport = field(factory=StringTransport)
    protocol: Any = None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        self.protocol = protocolFactory.buildProtocol(self.transport.getPeer())
        self.protocol.makeConnection(self.transport)
        return succeed(self.protocol)


class AgentTests(SynchronousTestCase):
    """The connections of requests."""

    def setUp(self) -> None:
        self.reached: list[tuple[str, int]] = []
        self.line = Line()

    def agent(self, **environ: str) -> CommandAgent:
        def endpoint_to(host: str, port: int) -> IStreamClientEndpoint:
            self.reached.append((host, port))
            return self.line

        return CommandAgent(Clock(), endpoint_to, environ)

    def test_direct(self) -> None:
        self.agent().request(b"GET", b"http://[::1]:8002/v3/health")
        self.assertEqual(self.reached, [("::1", 8002)])
        self.assertTrue(self.line.transport.value().startswith(b"GET /v3/health HTTP/1.1\r\n"))

    def test_http_through_a_proxy(self) -> None:
        """The proxy gets the whole URL."""
        agent = self.agent(http_proxy="http://user:pass@proxy:3128")
        agent.request(b"GET", b"http://a.example:8002/v3/health")
        self.assertEqual(self.reached, [("proxy", 3128)])
        head = self.line.transport.value()
        self.assertTrue(head.startswith(b"GET http://a.example:8002/v3/health HTTP/1.1\r\n"), head)
        self.assertIn(b"Proxy-Authorization: Basic dXNlcjpwYXNz\r\n", head)

    def test_https_through_a_proxy(self) -> None:
        """The proxy opens a tunnel, and sees neither path nor credential."""
        agent = self.agent(https_proxy="http://proxy:3128")
        uri = URI.fromBytes(b"https://a.example/v3/health")
        agent.endpointForURI(uri).connect(Factory.forProtocol(Protocol))
        self.assertEqual(self.reached, [("proxy", 3128)])
        self.assertEqual(
            self.line.transport.value(),
            b"CONNECT a.example:443 HTTP/1.1\r\nHost: a.example:443\r\n\r\n",
        )


class Echo(Protocol):
    """A protocol that keeps all received bytes."""

    def __init__(self) -> None:
        self.got = b""
        self.lost = False

    def dataReceived(self, data: bytes) -> None:
        self.got += data

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.lost = True


class TunnelTests(SynchronousTestCase):
    """A tunnel through a proxy."""

    def setUp(self) -> None:
        self.line = Line()
        self.inner = Echo()
        endpoint = TunnelEndpoint(self.line, "a.example:443", None)
        self.opening = endpoint.connect(Factory.forProtocol(lambda: self.inner))

    def test_opened(self) -> None:
        self.assertNoResult(self.opening)
        self.line.protocol.dataReceived(b"HTTP/1.1 200 Connection established\r\nVia: x\r\n\r")
        self.assertNoResult(self.opening)
        self.line.protocol.dataReceived(b"\nfirst")
        self.assertIs(self.successResultOf(self.opening), self.inner)
        self.line.protocol.dataReceived(b" second")
        self.assertEqual(self.inner.got, b"first second")
        self.line.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertTrue(self.inner.lost)

    def failure(self) -> str:
        self.assertTrue(self.line.transport.disconnecting)
        return str(self.failureResultOf(self.opening, ProxyFailed).value)

    def test_refused(self) -> None:
        self.line.protocol.dataReceived(b"HTTP/1.1 407 Proxy Authentication Required\r\n\r\n")
        self.assertEqual(self.failure(), "the proxy answers '407 Proxy Authentication Required'")

    def test_something_else(self) -> None:
        self.line.protocol.dataReceived(b"SSH-2.0-OpenSSH\r\n\r\n")
        self.assertIn("the proxy answers", self.failure())

    def test_closed(self) -> None:
        self.line.protocol.connectionLost(Failure(ConnectionDone()))
        self.assertEqual(self.failure(), "the proxy closed the connection")

    def test_too_long(self) -> None:
        self.line.protocol.dataReceived(b"x" * MAX_PROXY_HEAD_BYTES)
        self.assertNoResult(self.opening)
        self.line.protocol.dataReceived(b"x")
        self.assertEqual(self.failure(), "the answer of the proxy is too long")

    def test_cancelled(self) -> None:
        self.opening.cancel()
        self.assertTrue(self.line.transport.disconnecting)
        self.line.protocol.connectionLost(Failure(ConnectionDone()))
        self.failureResultOf(self.opening)
