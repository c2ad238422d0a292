"""
The certificate that TLS listeners show (RFC 5425), and whose certificates senders must show.
"""

from __future__ import annotations

from typing import Any

from OpenSSL import SSL
from OpenSSL.crypto import X509
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
from logplex.settings import Tls

#: Two tickets have 160 bytes. A client may ask for new keys (RFC 8446 §4.6.3) as often as it likes.
MAX_HELD_BYTES = 4_096

#: How OpenSSL says that the handshake is over.
_FINISHED = b"SSL negotiation finished successfully"


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    TLS for new connections, version 1.2 or later, as the files say that were loaded last.
    """

    def __init__(self, tls: Tls) -> None:
        """:raise BadPem: the files cannot be used."""
        self._options = _load(tls)

    def reload(self, tls: Tls) -> None:
        """
        Use these files, as they are now, for connections that come from now on.

        :raise BadPem: they cannot be used; nothing has changed.
        """
        self._options = _load(tls)

    def factory(self, wrapped: IProtocolFactory, clock: IReactorTime) -> IProtocolFactory:
        """Accepts connections with TLS for a factory whose protocols never write."""
        return _SilentFactory(TLSMemoryBIOFactory(self, False, wrapped, clock))

    def serverConnectionForTLS(self, protocol: TLSMemoryBIOProtocol) -> SSL.Connection:
        return self._options.serverConnectionForTLS(protocol)


class _Silent(ProtocolWrapper):
    """
    What is under TLS. Holds back what only a client who reads would need.

    In TLS 1.3 a server sends session tickets (RFC 8446 §4.6.1) after the handshake. Senders of
    syslog never read, and when one closes with the tickets unread, its kernel resets the
    connection: messages are lost that we have not read yet. pyOpenSSL cannot turn tickets off, and
    to throw them away would break what comes after them, the notice that we close.
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
        """Whether what TLS says now is neither of the handshake nor of the end."""
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


def _load(tls: Tls) -> CertificateOptions:
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
        options.getContext()
    except SSL.Error:
        raise BadPem(f"{key_option}: {key_file!r}: is not the key of certificate_file") from None
    return options
