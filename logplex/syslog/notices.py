"""
What Logplex itself says to readers and receivers: the notices L10 to L20 (PROTOCOL §7, §8, §9).

Times are seconds since the epoch.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

from logplex.hosts import host_and_port

_NOT_QUOTABLE = re.compile(r"[\x00-\x1f\x7f\"]+")


def timestamp(seconds: float) -> bytes:
    """As messages have it (RFC 5424 §6.2.3), in UTC: ``2026-11-22T08:48:05.472588+00:00``."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="microseconds").encode()


def l10_http_frame(now: float, dropped: int, since: float) -> bytes:
    """To an HTTP drain's receiver: so many messages were lost on the way (PROTOCOL §8)."""
    text = _lost(dropped, since)
    return _frame(b"<172>1 %b host heroku logplex - %b\n" % (timestamp(now), text))


def l10_syslog_frame(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """To a syslog drain's receiver, over TCP or TLS (PROTOCOL §9)."""
    return _frame(l10_datagram(now, drain_token, dropped, since) + b"\n")


def l10_datagram(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """To a syslog drain's receiver, over UDP (PROTOCOL §9)."""
    text = _lost(dropped, since)
    return b"<172>1 %b %b heroku logplex - - %b" % (timestamp(now), drain_token, text)


def l10_message(now: float, drain_token: bytes, dropped: int, since: float) -> bytes:
    """To the channel: one of its drains lost messages (PROTOCOL §8). Cooked."""
    return _message(
        now,
        b"Error L10 (output buffer overflow): drain '%b' dropped %d messages since %b."
        % (drain_token, dropped, timestamp(since)),
    )


def l11_line(now: float, dropped: int, since: float) -> bytes:
    """To a reader who was too slow, in the place of the lines that are gone (PROTOCOL §7)."""
    return (
        b"%b logplex[1]: Error L11 (Tail buffer overflow) -> "
        b"This tail session dropped %d messages since %b.\n"
        % (timestamp(now), dropped, timestamp(since))
    )


def l14_message(now: float, reason: str, scheme: str, host: str, port: int) -> bytes:
    """
    To the channel: a drain's receiver could not prove who it is (PROTOCOL §9). Cooked.

    :param reason: for people; quotes and control characters in it become spaces.
    :param host: a name or an address; of the URL's other parts nothing is told.
    """
    error = _NOT_QUOTABLE.sub(" ", reason)
    text = f'Error L14 (certificate validation): error="{error}" uri="{_uri(scheme, host, port)}"'
    return _message(now, text.encode(errors="replace"))


def denied_message(now: float, scheme: str, host: str, port: int) -> bytes:
    """To the channel: this node's operator lets no drain connect to that address. Cooked."""
    text = f'Error (drain destination denied): uri="{_uri(scheme, host, port)}"'
    return _message(now, text.encode(errors="replace"))


def l15_line(now: float) -> bytes:
    """To a reader: the messages of other nodes and the history cannot be had now (PROTOCOL §7)."""
    return b"%b logplex[1]: Error L15 (Tail buffer temporarily unavailable)\n" % timestamp(now)


def gap_line(now: float) -> bytes:
    """To a reader: here the channel's numbers jump, or its messages could not be followed."""
    return b"%b logplex[1]: Some messages may be missing here.\n" % timestamp(now)


def l20_line(now: float) -> bytes:
    """To a reader of a channel that has the flag ``no_tail`` (PROTOCOL §7)."""
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
