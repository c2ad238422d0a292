# SPDX-License-Identifier: Apache-2.0

"""
The notices L10 to L31, which Logplex itself sends to readers and receivers (PROTOCOL §7, §8, §9).

Times are seconds since the epoch.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from logplex.hosts import host_and_port

_CONTROLS = re.compile(r"[\x00-\x1f\x7f]+")
_NOT_QUOTABLE = re.compile(r"[\x00-\x1f\x7f\"]+")


def timestamp(seconds: float) -> bytes:
    """Return a timestamp of RFC 5424 §6.2.3 in UTC: ``2026-11-22T08:48:05.472588+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").encode()


def l10_http_frame(now: float, dropped: int, since: float) -> bytes:
    """Return a notice for the receiver of an HTTP drain: messages were dropped (PROTOCOL §8)."""
    text = _lost(dropped, since)
    return _frame(b"<172>1 %b host heroku logplex - %b\n" % (timestamp(now), text))


def l10_syslog_frame(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """
    Return a notice for the receiver of a syslog drain over TCP or TLS: messages were dropped
    (PROTOCOL §9).
    """
    return _frame(l10_datagram(now, drain_token, dropped, since) + b"\n")


def l10_datagram(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """
    Return a notice for the receiver of a syslog drain over UDP: messages were dropped (PROTOCOL
    §9).
    """
    text = _lost(dropped, since)
    return b"<172>1 %b %b heroku logplex - - %b" % (timestamp(now), drain_token, text)


def l10_message(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """Return a notice to write into a channel: a drain dropped messages (PROTOCOL §8)."""
    return _message(
        now,
        b"Error L10 (output buffer overflow): drain '%b' dropped %d messages since %b."
        % (drain_token, dropped, timestamp(since)),
    )


def l11_line(now: float, dropped: int, since: float) -> bytes:
    """Return a notice for a slow reader: it has missed messages (PROTOCOL §7)."""
    return (
        b"%b logplex[1]: Error L11 (Tail buffer overflow) -> "
        b"This tail session dropped %d messages since %b.\n"
        % (timestamp(now), dropped, timestamp(since))
    )


def l14_message(now: float, reason: str, scheme: str, host: str, port: int) -> bytes:
    """
    Return a notice to write into a channel: a receiver's certificate was rejected (PROTOCOL §9).

    :param reason: the reason to show. Quotes and control characters are replaced by spaces.
    :param host: the host name or address. The notice shows only the scheme, host and port of the
        URL.
    """
    error = _NOT_QUOTABLE.sub(" ", reason)
    text = f'Error L14 (certificate validation): error="{error}" uri="{_uri(scheme, host, port)}"'
    return _message(now, text.encode(errors="replace"))


def l31_message(now: float, drain_token: bytes, reason: str, since: float) -> bytes:
    """
    Return a notice to write into a channel: a drain does not deliver, for this reason (PROTOCOL
    §8).

    :param reason: the reason to show. Control characters are replaced by spaces.
    """
    text = _CONTROLS.sub(" ", reason).encode(errors="replace")
    return _message(
        now,
        b"Error L31 (drain delivery error): drain '%b' %b (since %b)."
        % (drain_token, text, timestamp(since)),
    )


def denied_message(now: float, scheme: str, host: str, port: int) -> bytes:
    """Return a notice to write into a channel: the operator forbids the address of a drain."""
    text = f'Error (drain destination denied): uri="{_uri(scheme, host, port)}"'
    return _message(now, text.encode(errors="replace"))


def loop_message(now: float, drain_token: bytes) -> bytes:
    """Return a notice to write into a channel: a drain sends messages back to the channel."""
    return _message(
        now, b"Error (drain loop): drain '%b' leads back to its own channel." % drain_token
    )


def l15_line(now: float) -> bytes:
    """
    Return a notice for a reader: recent messages cannot be read, because the spool cannot be
    reached (PROTOCOL §7).
    """
    return b"%b logplex[1]: Error L15 (Tail buffer temporarily unavailable)\n" % timestamp(now)


def gap_line(now: float) -> bytes:
    """Return a notice for a reader: messages may be missing at this place."""
    return b"%b logplex[1]: Some messages may be missing here.\n" % timestamp(now)


def l20_line(now: float) -> bytes:
    """
    Return a notice for a reader: the channel has the flag ``no_tail``, which forbids live messages
    (PROTOCOL §7).
    """
    return (
        b"%b Logplex: Error L20 (Tail sessions forbidden) "
        b"Tail sessions for this app are forbidden due to log volume.\n" % timestamp(now)
    )


def _lost(dropped: int, since: float) -> bytes:
    return b"Error L10 (output buffer overflow): %d messages dropped since %b." % (
        dropped,
        timestamp(since),
    )


def _uri(scheme: str, host: str, port: int) -> str:
    return f"{scheme}://{host_and_port(host, port)}"


def _message(now: float, text: bytes) -> bytes:
    return b"<172>1 %b host heroku logplex - - %b" % (timestamp(now), text)


def _frame(message: bytes) -> bytes:
    return b"%d %b" % (len(message), message)
