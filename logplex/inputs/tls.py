"""
The certificate that TLS listeners show (RFC 5425), and whose certificates senders must show.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import load_pem_x509_certificates
from OpenSSL import SSL, crypto
from twisted.internet.interfaces import (
    IOpenSSLServerConnectionCreator,
    IProtocolFactory,
    IReactorTime,
)
from twisted.internet.ssl import (
    Certificate,
    CertificateOptions,
    TLSVersion,
    trustRootFromCertificates,
)
from twisted.protocols.policies import ProtocolWrapper, WrappingFactory
from twisted.protocols.tls import TLSMemoryBIOFactory, TLSMemoryBIOProtocol
from zope.interface import implementer

from logplex.config import Tls

#: Two tickets have 160 bytes. A client may ask for new keys (RFC 8446 §4.6.3) as often as it likes.
MAX_HELD_BYTES = 4_096

#: How OpenSSL says that the handshake is over.
_FINISHED = b"SSL negotiation finished successfully"


class TlsError(Exception):
    """A file of the section ``[tls]`` cannot be used; the text is one line that says why."""


@implementer(IOpenSSLServerConnectionCreator)
class ServerTls:
    """
    TLS for new connections, version 1.2 or later, as the files say that were loaded last.
    """

    def __init__(self, tls: Tls) -> None:
        """:raise TlsError: the files cannot be used."""
        self._options = _load(tls)

    def reload(self, tls: Tls) -> None:
        """
        Use these files, as they are now, for connections that come from now on.

        :raise TlsError: they cannot be used; nothing has changed.
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
    own, *chain = _certificates("certificate_file", tls.certificate_file)
    key_option = "key_file" if tls.key_file else "certificate_file"
    trusted = None
    if tls.client_ca_file:
        authorities = _certificates("client_ca_file", tls.client_ca_file)
        roots = [Certificate(each) for each in authorities]
        trusted = trustRootFromCertificates(roots)
    options = CertificateOptions(
        privateKey=_key(key_option, tls.key_file or tls.certificate_file),
        certificate=own,
        extraCertChain=chain,
        trustRoot=trusted,
        raiseMinimumTo=TLSVersion.TLSv1_2,
    )
    try:
        options.getContext()
    except SSL.Error:
        file = tls.key_file or tls.certificate_file
        raise _unusable(key_option, file, "is not the key of certificate_file") from None
    return options


def _certificates(option: str, file: str) -> list[crypto.X509]:
    """All certificates in a file: one's own and those that lead to its root, or authorities."""
    try:
        found = load_pem_x509_certificates(_read(option, file))
    except ValueError:
        raise _unusable(option, file, "holds no certificate in PEM form") from None
    return [crypto.X509.from_cryptography(each) for each in found]


def _key(option: str, file: str) -> crypto.PKey:
    try:
        found = load_pem_private_key(_read(option, file), password=None)
        return crypto.PKey.from_cryptography_key(found)  # type: ignore[arg-type]
    except TypeError:
        raise _unusable(option, file, "the key is encrypted, or of an unknown kind") from None
    except (ValueError, UnsupportedAlgorithm):
        raise _unusable(option, file, "holds no private key in PEM form") from None


def _read(option: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise _unusable(option, file, error.strerror or "cannot be read") from None


def _unusable(option: str, file: str, why: str) -> TlsError:
    return TlsError(f"[tls] {option}: {file!r}: {why}")
