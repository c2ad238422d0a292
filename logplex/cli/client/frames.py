# SPDX-License-Identifier: Apache-2.0

"""
Turn bytes into lines, lines into frames, and frames into parcels for ``POST /logs``.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, frozen

from logplex.syslog.message import MAX_MESSAGE_BYTES


@define(eq=False, repr=False)
class LineCutter:
    """
    Cut a stream of bytes into lines, without the LF at their end and a CR before it.

    A line that is too long for one message is cut into several lines. UTF-8 text is cut between two
    characters.

    :param max_bytes: the longest line; at least 4.
    """

    max_bytes: int
    _rest: bytes = b""

    def cut(self, chunk: bytes) -> list[bytes]:
        """Return the lines that end in this chunk, and the parts of a line that is too long."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines: list[bytes] = []
        for line in whole:
            lines += self._pieces(line.removesuffix(b"\r"))
        # The last byte may be a CR that belongs to the line end.
        if len(self._rest) > self.max_bytes + 1:
            *pieces, self._rest = self._pieces(self._rest)
            lines += pieces
        return lines

    def end(self) -> list[bytes]:
        """Return the last line if it does not end in LF."""
        rest, self._rest = self._rest, b""
        return self._pieces(rest) if rest else []

    def _pieces(self, line: bytes) -> list[bytes]:
        pieces = []
        start = 0
        while len(line) - start > self.max_bytes:
            end = _character_start(line, start + self.max_bytes)
            pieces.append(line[start:end])
            start = end
        return [*pieces, line[start:]]


def _character_start(text: bytes, end: int) -> int:
    """
    Return the index of the last UTF-8 character that begins before ``end``.

    If no character begins in the last four bytes, return ``end``.
    """
    for index in range(end, end - 4, -1):
        if text[index] & 0xC0 != 0x80:
            return index
    return end


@frozen
class Form:
    """
    The header that all messages of a sender share, except the time (RFC 5424).

    :ivar pri: the facility times 8 plus the severity.
    """

    pri: int
    host: str
    token: str
    procid: str

    def frames(self, lines: Sequence[bytes], now_s: float) -> bytes:
        """
        Return the lines as messages with octet counting (RFC 6587 §3.4.1).

        :param now_s: the time of the messages, in seconds since the epoch.
        """
        head = self._head(now_s)
        size = len(head)
        return b"".join([b"%d %b%b" % (size + len(line), head, line) for line in lines])

    @property
    def max_line_bytes(self) -> int:
        """The maximum length of a line that fits into one message."""
        return MAX_MESSAGE_BYTES - len(self._head(0.0))

    def _head(self, now_s: float) -> bytes:
        time = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds")
        return f"<{self.pri}>1 {time} {self.host} {self.token} {self.procid} - - ".encode()


@frozen
class Parcel:
    """
    The lines that one request sends to a node.

    :ivar frame_id: the id of the parcel. It is the same in every attempt, so that the node accepts
        the parcel only once.
    :ivar count: the number of lines.
    """

    frame_id: str
    count: int
    body: bytes
