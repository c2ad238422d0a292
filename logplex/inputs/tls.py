# SPDX-License-Identifier: Apache-2.0

"""
TLS for listeners (RFC 5425): the node's certificate, and the authorities of senders' certificates.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from cryptography.x509 import Certificate
from OpenSSL import SSL
from OpenSSL.crypto import X509, X509StoreFlags
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.ssl import CertificateOptions, TLSVersion
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from logplex.certificates import (
    BadPem,
    read_authorities,
    read_certificates,
    read_private_key,
)
from logplex.metrics import Sample
from logplex.settings import Tls

#: Two tickets take 160 bytes. Requests for new keys (RFC 8446 §4.6.3), which are not bounded, add
#: more.
MAX_HELD_BYTES = 4_096

#: Health tells of a certificate that ends within this time: 14 days.
EXPIRY_WARNING_S = 14 * 86_400.0

#: The state that OpenSSL reports after the handshake.
_FINISHED = b"SSL negotiation finished successfully"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    The TLS of listeners, version 1.2 or later. New connections use the files that were loaded last.
    """

    def __init__(self, tls: Tls) -> None:
        """
        Read the certificate files that the settings name.

        :raise BadPem: a certificate file cannot be used.
        """
        self._options, self._certificate = _load(tls)

    @property
    def expires_s(self) -> float:
        """The time at which the node's certificate expires, in seconds since the epoch."""
        return self._certificate.not_valid_after_utc.timestamp()

    def samples(self) -> Iterator[Sample]:
        """Yield the time at which the node's certificate expires, for metrics."""
        yield Sample(
            "logplex_certificate_expiry_timestamp_seconds",
            "The end of the certificate of [tls], in seconds since the epoch",
            self.expires_s,
        )

    def troubles(self, now_s: float) -> list[str]:
        """
        Return a line if the node's certificate expires soon.

        :param now_s: the time, in seconds since the epoch.
        """
        left_s = self.expires_s - now_s
        if left_s > EXPIRY_WARNING_S:
            return []
        day = self._certificate.not_valid_after_utc.date().isoformat()
        return [f"the certificate of [tls] {'ends' if left_s > 0 else 'has ended'} on {day}"]

    def reload(self, tls: Tls) -> bool:
        """
        Read the certificate files that new settings name, and use them for new connections.

        :return: true if the certificate has changed.
        :raise BadPem: a certificate file cannot be used. The earlier certificate stays in use.
        """
        before = self._certificate
        self._options, self._certificate = _load(tls)
        return self._certificate != before

    def factory(self, wrapped: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """
        Return a factory that adds TLS to another factory. The protocols of that factory must never
        write.
        """
        return _SilentFactory(TLSMemoryBIOFactory(self, False, wrapped, clock))

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._options.serverConnectionForTLS(protocol)


class _Silent(ProtocolWrapper):
    """
    The transport below TLS. It holds back data that is useless for a client that never reads.

    In TLS 1.3 a server sends session tickets (RFC 8446 §4.6.1) after the handshake. Senders of
    syslog never read. When one closes with unread tickets, its kernel resets the connection, and
    messages that the node has not read yet are lost. pyOpenSSL cannot turn tickets off, and
    dropping them would break the records after them, such as the notice that the node closes.
    """

    _held = b""

    def write(self, data: bytes) -> None:
        data = self._held + data
        if self._is_for_readers and len(data) <= MAX_HELD_BYTES:
            self._held = data
        else:
            self._held = b""
            super().write(data)

    @property
    def _is_for_readers(self) -> bool:
        """
        Return true if the data is useful only for a client that reads: it belongs neither to the
        handshake nor to the end of TLS.
        """
        tls: Any = self.wrappedProtocol
        connection: SSL.Connection = tls.getHandle()
        return (
            connection.get_protocol_version() >= SSL.TLS1_3_VERSION
            and connection.get_state_string() == _FINISHED
            and not connection.get_shutdown() & SSL.SENT_SHUTDOWN
        )


class _SilentFactory(WrappingFactory[_Silent]):
    protocol = _Silent
    noisy = False


def _load(tls: Tls) -> tuple[CertificateOptions, Certificate]:
    found = read_certificates("[tls] certificate_file", tls.certificate_file)
    own, *chain = map(X509.from_cryptography, found)
    key_option = "[tls] key_file" if tls.key_file else "[tls] certificate_file"
    key_file = tls.key_file or tls.certificate_file
    trusted = None
    if tls.client_ca_file:
        trusted = read_authorities("[tls] client_ca_file", tls.client_ca_file)
    options = CertificateOptions(
        privateKey=read_private_key(key_option, key_file),
        certificate=own,
        extraCertChain=chain,
        trustRoot=trusted,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    try:
        context = options.getContext()
    except SSL.Error:
        raise BadPem(f"{key_option}: {key_file!r}: is not the key of certificate_file") from None
    if trusted is not None:
        # An authority in client_ca_file is trusted although its own issuer is not there.
        store = context.get_cert_store()
        assert store is not None
        store.set_flags(X509StoreFlags.PARTIAL_CHAIN)
    return options, found[0]
