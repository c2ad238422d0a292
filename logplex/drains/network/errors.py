# SPDX-License-Identifier: Apache-2.0

"""
The reasons why something failed, in words for the owner of a drain.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

#: The longest text of a receiver that is shown.
MAX_CHARACTERS = 200


class DestinationDenied(Exception):
    """The host of a drain has an address that drains may not connect to."""

    def __str__(self) -> str:
        # The address is not told: it may be known inside our network only.
        return "the host has an address that drains may not connect to"


class CertificateRejected(Exception):
    """The certificate of the receiver was rejected. The text gives the reason."""


#: Reasons about which a channel gets notices of their own.
NOTICED = (CertificateRejected, DestinationDenied)


def explain(why: Failure) -> str:
    """Return the reason of a failure in words that the owner of a drain understands."""
    error = why.value
    if isinstance(error, DeferredTimeout):
        return "it took too long"
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return printable(f"TLS: {error.args[0][0][-1]}")
    return printable(why.getErrorMessage() or type(error).__name__).removesuffix(".")


def printable(said: str | bytes) -> str:
    """Return the beginning of a text that a receiver has sent, in printable characters."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return "".join(each if each.isprintable() else " " for each in text[:MAX_CHARACTERS])
