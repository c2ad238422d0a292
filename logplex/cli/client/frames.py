"""
From lines of text to what ``POST /logs`` takes: bytes to lines, lines to frames, frames to parcels.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from attrs import define, frozen

from logplex.syslog.message import MAX_MESSAGE_BYTES


@define(eq=False, repr=False)
class LineCutter:
    """
    Cuts a stream of bytes into lines, without their LF and the CR before it.

    A line that is too long for one message is cut into several, so that nothing of it is lost;
    where it can be, not within a character in UTF-8.

    :param max_bytes: of a line; at least 4.
    """

    max_bytes: int
    _rest: bytes = b""

    def cut(self, chunk: bytes) -> list[bytes]:
        """The lines that end in this chunk, and pieces of one that is too long already."""
        *whole, self._rest = (self._rest + chunk).split(b"\n")
        lines: list[bytes] = []
        for line in whole:
            lines += self._pieces(line.removesuffix(b"\r"))
        # One byte more, for a CR that belongs to the end of the line.
        if len(self._rest) > self.max_bytes + 1:
            *pieces, self._rest = self._pieces(self._rest)
            lines += pieces
        return lines

    def end(self) -> list[bytes]:
        """The last line, where it does not end in LF."""
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
    """The last place up to ``end`` where a character begins, at most three bytes before it."""
    for index in range(end, end - 4, -1):
        if text[index] & 0xC0 != 0x80:
            return index
    return end


@frozen
class Form:
    """
    What every message of a sender has in common (RFC 5424).

    :ivar pri: facility times 8 plus severity.
    """

    pri: int
    host: str
    token: str
    procid: str

    def frames(self, lines: Sequence[bytes], now_s: float) -> bytes:
        """
        The lines as messages of this moment, octet-counted (RFC 6587 §3.4.1).

        :param now_s: seconds since the epoch.
        """
        head = self._head(now_s)
        size = len(head)
        return b"".join([b"%d %b%b" % (size + len(line), head, line) for line in lines])

    @property
    def max_line_bytes(self) -> int:
        """The longest line that fits into one message."""
        return MAX_MESSAGE_BYTES - len(self._head(0.0))

    def _head(self, now_s: float) -> bytes:
        time = datetime.fromtimestamp(now_s, UTC).isoformat(timespec="microseconds")
        return f"<{self.pri}>1 {time} {self.host} {self.token} {self.procid} - - ".encode()


@frozen
class Parcel:
    """
    What one request sends.

    :ivar frame_id: the same in every try, so that the node takes the parcel once.
    :ivar count: how many lines.
    """

    frame_id: str
    count: int
    body: bytes
