"""
Why something failed, in words for a drain's owner.
"""

from __future__ import annotations

from OpenSSL import SSL
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.python.failure import Failure

#: A receiver has no more to say to people than this.
MAX_CHARACTERS = 200


class DestinationDenied(Exception):
    """The host has an address that drains may not connect to."""

    def __str__(self) -> str:
        # Which one is nobody's business: it may be known inside our network only.
        return "the host has an address that drains may not connect to"


class CertificateRejected(Exception):
    """The receiver could not prove who it is; the text says why."""


def explain(why: Failure) -> str:
    """A reason of Twisted, OpenSSL or our own."""
    error = why.value
    if isinstance(error, DeferredTimeout):
        return "it took too long"
    if isinstance(error, SSL.Error) and error.args and error.args[0]:
        return printable(f"TLS: {error.args[0][0][-1]}")
    return printable(why.getErrorMessage() or type(error).__name__)


def printable(said: str | bytes) -> str:
    """What is safe to show of what a stranger said."""
    text = said.decode("utf-8", "replace") if isinstance(said, bytes) else said
    return "".join(each if each.isprintable() else " " for each in text[:MAX_CHARACTERS])
