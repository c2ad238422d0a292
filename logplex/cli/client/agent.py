# SPDX-License-Identifier: Apache-2.0

"""
The HTTP agent of a command: it finds proxies in the environment, and verifies certificates.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Callable, Mapping
from functools import partial
from ipaddress import ip_address
from typing import Any
from urllib.parse import unquote, urlsplit

from attrs import define, field, frozen
from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_PEER, Connection, Context
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import wrapClientTLS
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.protocols.tls import TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, ProxyAgent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from logplex.certificates import verification_error
from logplex.hosts import host_and_port

#: The longest head of a proxy's answer.
MAX_PROXY_HEAD_BYTES = 65_536

#: A function that returns an endpoint to a host and a port.
EndpointTo = Callable[[str, int], IStreamClientEndpoint]


class ProxyFailed(Exception):
    """A proxy cannot be used, or did not connect to the server; the text gives the reason."""


class NotTrusted(Exception):
    """The certificate of a server cannot be trusted; the text gives the reason."""


@frozen
class Proxy:
    """
    An HTTP proxy.

    :ivar authorization: the value of ``Proxy-Authorization``, if the proxy's URL has a user.
    """

    host: str
    port: int
    authorization: bytes | None = field(default=None, repr=False)


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """
    Return the proxy for a URL, or ``None``.

    The variables are those of curl: ``http_proxy``, ``https_proxy``, ``all_proxy``, ``no_proxy``,
    also in capitals, except ``HTTP_PROXY``. This machine's own addresses need no proxy.

    :raise ProxyFailed: the variable is not the URL of an HTTP proxy.
    """
    parts = urlsplit(url)
    host = parts.hostname or ""
    names = [f"{parts.scheme}_proxy", f"{parts.scheme}_proxy".upper(), "all_proxy", "ALL_PROXY"]
    text = next((environ[name] for name in names if name != "HTTP_PROXY" and environ.get(name)), "")
    excluded = environ.get("no_proxy") or environ.get("NO_PROXY") or ""
    if not text or _is_here(host) or _is_excluded(host, excluded):
        return None
    try:
        found = urlsplit(text if "://" in text else f"http://{text}")
        port = found.port or 80
    except ValueError:
        raise ProxyFailed("the URL of the proxy is malformed") from None
    if found.scheme != "http" or not found.hostname:
        raise ProxyFailed("the URL of the proxy must begin with http://")
    authorization = None
    if found.username is not None:
        pair = f"{unquote(found.username)}:{unquote(found.password or '')}"
        authorization = b"Basic " + b64encode(pair.encode())
    return Proxy(found.hostname, port, authorization)


def _is_excluded(host: str, excluded: str) -> bool:
    """Return true if ``no_proxy`` names the host, or a domain of the host."""
    names = [name.strip().lower().lstrip(".") for name in excluded.split(",")]
    return "*" in names or any(host == name or host.endswith(f".{name}") for name in names if name)


def _is_here(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


@implementer(IAgent, IAgentEndpointFactory)
@define(eq=False, repr=False)
class CommandAgent:
    """
    Send HTTP requests directly, or through a proxy that the environment names.

    :param environ: the environment variables, which may name proxies.
    :param authorities: the ``trustRoot`` for servers; ``None`` means the authorities of the system.
    """

    clock: IReactorTime
    endpoint_to: EndpointTo
    environ: Mapping[str, str]
    authorities: Any = None

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Deferred[IResponse]:
        """Send an HTTP request; the parameters are those of :class:`IAgent`."""
        url = uri.decode("ascii")
        agent: IAgent = Agent.usingEndpointFactory(self.clock, self)
        if url.startswith("http:"):
            proxy = proxy_for(url, self.environ)
            if proxy is not None:
                headers = Headers() if headers is None else headers.copy()
                if proxy.authorization is not None:
                    headers.setRawHeaders(b"Proxy-Authorization", [proxy.authorization])
                agent = ProxyAgent(self.endpoint_to(proxy.host, proxy.port), self.clock)
        return agent.request(method, uri, headers, bodyProducer)

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return the endpoint of a server, over TLS and through a tunnel if needed."""
        host = uri.host.decode("ascii")
        if uri.scheme == b"http":
            return self.endpoint_to(host, uri.port)
        proxy = proxy_for(uri.toBytes().decode("ascii"), self.environ)
        if proxy is None:
            endpoint = self.endpoint_to(host, uri.port)
        else:
            there = self.endpoint_to(proxy.host, proxy.port)
            endpoint = TunnelEndpoint(there, host_and_port(host, uri.port), proxy.authorization)
        context = CertificateOptions(trustRoot=self.authorities or platformTrust()).getContext()
        return wrapClientTLS(_TlsConnections(context, host), endpoint)


@implementer(IOpenSSLClientConnectionCreator)
@frozen
class _TlsConnections:
    """
    Make TLS connections that fail with the reason if a certificate cannot be trusted.

    :ivar host: the host name, in ASCII, or address that the certificate must have.
    """

    context: Context
    host: str

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        connection = Connection(self.context, None)
        name: DNS_ID | IPAddress_ID
        try:
            name = IPAddress_ID(self.host)
        except ValueError:
            name = DNS_ID(self.host)
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        connection.set_verify(
            VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT, partial(_verified, tlsProtocol, name)
        )
        return connection


def _verified(
    protocol: TLSMemoryBIOProtocol,
    name: DNS_ID | IPAddress_ID,
    connection: Connection,
    certificate: X509,
    error: int,
    depth: int,
    ok: int,
) -> bool:
    """
    Return true if OpenSSL trusts a certificate, and if the server's certificate has the right host
    name.
    """
    # An exception would be lost in OpenSSL, and might count as success.
    try:
        if not ok:
            raise NotTrusted(verification_error(error))
        if depth == 0:
            verify_service_identity(extract_patterns(certificate), [name], [])
    except Exception:
        protocol.failVerification(Failure())
        return False
    return True


@implementer(IStreamClientEndpoint)
@frozen
class TunnelEndpoint:
    """
    An endpoint that reaches a server by the method ``CONNECT`` of a proxy (RFC 9110 §9.3.6).

    :param server: the host and the port of the server.
    """

    proxy: IStreamClientEndpoint
    server: str
    authorization: bytes | None

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect to the server through the proxy."""
        head = f"CONNECT {self.server} HTTP/1.1\r\nHost: {self.server}\r\n".encode("ascii")
        if self.authorization is not None:
            head += b"Proxy-Authorization: " + self.authorization + b"\r\n"
        tunnel = _Tunnel(head + b"\r\n", protocolFactory)
        connecting = self.proxy.connect(Factory.forProtocol(lambda: tunnel))
        return connecting.addCallback(lambda _: tunnel.opened)


class _Tunnel(Protocol):
    """
    A connection to a server through a proxy: first the request to the proxy and its answer, then
    the bytes of the server.

    :ivar opened: fires with the protocol of the server.
    """

    def __init__(self, head: bytes, factory: IProtocolFactory) -> None:
        self._head = head
        self._factory = factory
        self._answer = b""
        self._inner: IProtocol | None = None
        self.opened: Deferred[IProtocol] = Deferred(lambda _: self._leave())

    def connectionMade(self) -> None:
        assert self.transport is not None
        self.transport.write(self._head)

    def dataReceived(self, data: bytes) -> None:
        if self._inner is not None:
            self._inner.dataReceived(data)
            return
        self._answer += data
        head, end, rest = self._answer.partition(b"\r\n\r\n")
        if end:
            self._answered(head, rest)
        elif len(self._answer) > MAX_PROXY_HEAD_BYTES:
            self._fail("the answer of the proxy is too long")

    def connectionLost(self, reason: Failure | None = None) -> None:
        if self._inner is not None and reason is not None:
            self._inner.connectionLost(reason)
        else:
            self._fail("the proxy closed the connection")

    def _answered(self, head: bytes, rest: bytes) -> None:
        version, _, status = head.partition(b"\r\n")[0].partition(b" ")
        if not version.startswith(b"HTTP/1.") or not status.startswith(b"2"):
            shown = status[:100].decode("ascii", "replace")
            self._fail(f"the proxy answers {shown!r}")
            return
        assert self.transport is not None
        inner = self._factory.buildProtocol(self.transport.getPeer())
        if inner is None:
            self._leave()
            return
        self._inner = inner
        inner.makeConnection(self.transport)
        self.opened.callback(inner)
        if rest:
            inner.dataReceived(rest)

    def _fail(self, why: str) -> None:
        self._leave()
        if not self.opened.called:
            self.opened.errback(ProxyFailed(why))

    def _leave(self) -> None:
        if self.transport is not None:
            self.transport.loseConnection()
