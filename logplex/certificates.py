# SPDX-License-Identifier: Apache-2.0

"""
PEM files with certificates and private keys, and the meaning of OpenSSL's errors about
certificates.

Errors begin with the name of an option as operators write it, for example ``[tls] key_file``.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from cryptography.x509 import Certificate, load_pem_x509_certificates
from OpenSSL.crypto import X509, PKey
from twisted.internet import ssl

#: Verdicts of OpenSSL on a certificate (``X509_V_ERR_…``), in the words of its manual.
_VERDICTS = {
    2: "unable to get issuer certificate",
    7: "certificate signature failure",
    9: "certificate is not yet valid",
    10: "certificate has expired",
    18: "self-signed certificate",
    19: "self-signed certificate in certificate chain",
    20: "unable to get local issuer certificate",
    21: "unable to verify the first certificate",
    22: "certificate chain too long",
    23: "certificate revoked",
    24: "invalid CA certificate",
    26: "unsuitable certificate purpose",
    66: "certificate key too weak",
    68: "certificate signature algorithm too weak",
}


class BadPem(Exception):
    """
    A certificate or a private key cannot be used. The text gives the option and the reason in one
    line.
    """


def read_certificates(option: str, file: str) -> list[Certificate]:
    """
    Return all certificates of a PEM file in order, at least one.

    :raise BadPem: the file cannot be read, or contains no certificate.
    """
    return parse_certificates(f"{option}: {file!r}", _read(option, file))


def parse_certificates(origin: str, pem: bytes) -> list[Certificate]:
    """
    Return all certificates of a PEM text in order, at least one.

    :param origin: the option and, if there is one, the file of the text. Errors begin with it.
    :raise BadPem: the text contains no certificate.
    """
    try:
        return load_pem_x509_certificates(pem)
    except ValueError:
        raise BadPem(f"{origin}: holds no certificate in PEM form") from None


def read_authorities(option: str, file: str) -> Any:
    """
    Return the certificate authorities in a PEM file, which verify peers: a ``trustRoot`` of
    Twisted.

    :raise BadPem: the file cannot be read, or contains no certificate.
    """
    found = [
        ssl.Certificate(X509.from_cryptography(each)) for each in read_certificates(option, file)
    ]
    return ssl.trustRootFromCertificates(found)


def read_private_key(option: str, file: str) -> PKey:
    """
    Return the private key in a PEM file. The key must not be encrypted.

    :raise BadPem: the file cannot be read, or contains no such key.
    """
    try:
        found = load_pem_private_key(_read(option, file), password=None)
        return PKey.from_cryptography_key(found)  # type: ignore[arg-type]
    except TypeError:
        raise BadPem(f"{option}: {file!r}: the key is encrypted, or of an unknown kind") from None
    except (ValueError, UnsupportedAlgorithm):
        raise BadPem(f"{option}: {file!r}: holds no private key in PEM form") from None


def verification_error(verdict: int) -> str:
    """Return the meaning of an error code of OpenSSL about a certificate."""
    return _VERDICTS.get(verdict, f"certificate verify failed ({verdict})")


def _read(option: str, file: str) -> bytes:
    try:
        return Path(file).read_bytes()
    except OSError as error:
        raise BadPem(f"{option}: {file!r}: {error.strerror or 'cannot be read'}") from None
