# SPDX-License-Identifier: Apache-2.0

"""
TLS connections to receivers, whose certificate chains and host names are verified (PROTOCOL §9, RFC
9525).

All drains share two OpenSSL contexts, one that verifies and one that does not, because a context
with the system's authorities takes a megabyte.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import Any
from weakref import ref

from attrs import define
from cryptography.x509 import Certificate as X509Certificate
from OpenSSL.crypto import X509
from OpenSSL.SSL import VERIFY_FAIL_IF_NO_PEER_CERT, VERIFY_NONE, VERIFY_PEER, Connection, Context
from service_identity import CertificateError, VerificationError
from service_identity.hazmat import DNS_ID, IPAddress_ID, verify_service_identity
from service_identity.pyopenssl import extract_patterns
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IOpenSSLClientConnectionCreator,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.ssl import CertificateOptions, platformTrust
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.certificates import (
    parse_certificates,
    read_authorities,
    read_certificates,
    verification_error,
)
from logplex.drains.network.errors import CertificateRejected

_log = Logger()

#: The most certificates between the receiver's and the authority's.
CHAIN_DEPTH = 9


class Trust:
    """
    The certificates that drains trust, and TLS for connections to receivers.

    :param ca_file: PEM certificates of the trusted authorities; if empty, the authorities of the
        system are trusted.
    :param pinned_file: PEM certificates of receivers that are always trusted, even if their chains,
        names or dates are wrong; may be empty.
    :param pinned: more pinned certificates, as PEM text.
    :raise BadPem: a file cannot be read, or there is no certificate in it.
    """

    def __init__(self, ca_file: str = "", pinned_file: str = "", pinned: str = "") -> None:
        roots = platformTrust()
        if ca_file:
            roots = read_authorities("[drains] ca_file", ca_file)
        self._pinned: frozenset[X509Certificate] = frozenset()
        if pinned_file:
            self._pinned |= frozenset(read_certificates("[drains] pinned_file", pinned_file))
        if pinned:
            origin = "[drains] pinned_certificates"
            self._pinned |= frozenset(parse_certificates(origin, pinned.encode()))
        self._verifying = CertificateOptions(trustRoot=roots).getContext()
        self._verifying.set_verify_depth(CHAIN_DEPTH)
        self._insecure = CertificateOptions().getContext()

    def secured(
        self, endpoint: IStreamClientEndpoint, host: str, verify: bool, clock: IReactorTime
    ) -> IStreamClientEndpoint:
        """
        Return an endpoint that adds TLS to connections of the given endpoint.

        :param host: a name in its ASCII form, or an address.
        :param verify: false if any certificate is accepted.
        """
        context = self._verifying if verify else self._insecure
        creator = _Creator(context, host, verify, self._pinned)
        secured: IStreamClientEndpoint = _SecuredEndpoint(endpoint, creator, clock)
        return secured


class _Unbuffered(TLSMemoryBIOFactory):
    """
    A TLS protocol that writes data at once.

    Twisted's TLS collects small writes for one turn of the reactor, but drains have to know the
    result of each write.
    """

    protocol = TLSMemoryBIOProtocol


@implementer(IStreamClientEndpoint)
@define(eq=False, repr=False)
class _SecuredEndpoint:
    endpoint: IStreamClientEndpoint
    creator: _Creator
    clock: IReactorTime

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """See :class:`IStreamClientEndpoint`. The result fires before the TLS handshake is done."""
        wrapping = _Unbuffered(self.creator, True, protocolFactory, self.clock)

        def unwrapped(tls: Any) -> IProtocol:
            inner: IProtocol = tls.wrappedProtocol
            return inner

        return self.endpoint.connect(wrapping).addCallback(unwrapped)


@implementer(IOpenSSLClientConnectionCreator)
@define(eq=False, repr=False)
class _Creator:
    context: Context
    host: str
    verify: bool
    pinned: frozenset[X509Certificate]

    def clientConnectionForTLS(self, tlsProtocol: TLSMemoryBIOProtocol) -> Connection:
        connection = Connection(self.context, None)
        name = _service_id(self.host)
        if isinstance(name, DNS_ID):
            # Addresses may not stand there (RFC 6066 §3).
            connection.set_tlsext_host_name(self.host.encode("ascii"))
        if self.verify:
            connection.set_verify(
                VERIFY_PEER | VERIFY_FAIL_IF_NO_PEER_CERT,
                _Verification(ref(tlsProtocol), name, self.pinned),
            )
        else:
            connection.set_verify(VERIFY_NONE)
        return connection


def _service_id(host: str) -> DNS_ID | IPAddress_ID:
    try:
        ip_address(host)
    except ValueError:
        return DNS_ID(host)
    return IPAddress_ID(host)


@define(eq=False, repr=False)
class _Verification:
    """
    The verification of the receiver's certificates in one TLS handshake, as OpenSSL calls it.

    OpenSSL checks the certificate of the authority first, and the receiver's own certificate (depth
    0) last. It may ask about one certificate more than once. A pinned certificate needs no valid
    chain, so errors of other certificates are reported only after the receiver's own certificate
    was checked.
    """

    protocol: ref[TLSMemoryBIOProtocol]
    name: DNS_ID | IPAddress_ID
    pinned: frozenset[X509Certificate]
    error: str | None = None
    is_pinned: bool | None = None

    def __call__(
        self, connection: Connection, certificate: X509, error: int, depth: int, ok: int
    ) -> bool:
        # OpenSSL would lose an exception, and might take it for a yes.
        try:
            return self._accept(certificate, error, depth, bool(ok))
        except Exception:
            _log.failure("bug: while verifying a certificate")
            return self._reject("internal error")

    def _accept(self, certificate: X509, error: int, depth: int, ok: bool) -> bool:
        if self.is_pinned:
            return True
        if not ok and self.error is None:
            self.error = verification_error(error)
        if depth > 0 and self.is_pinned is None and self.pinned:
            return True
        if depth == 0 and self.pinned:
            self.is_pinned = certificate.to_cryptography() in self.pinned
            if self.is_pinned:
                return True
        if self.error is not None:
            return self._reject(self.error)
        if depth == 0:
            try:
                verify_service_identity(extract_patterns(certificate), [self.name], [])
            except VerificationError:
                return self._reject("the certificate is for another host name")
            except CertificateError as bad:
                return self._reject(str(bad))
        return True

    def _reject(self, reason: str) -> bool:
        protocol = self.protocol()
        if protocol is not None:
            protocol.failVerification(Failure(CertificateRejected(reason)))
        return False
