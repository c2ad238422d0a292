"""
Syslog over a byte stream (RFC 6587): find the messages in the bytes of a connection or a body.

:mod:`logplex.syslog.cutting` cuts the common cases, whole octet-counted frames and whole lines.
This module reads all other input: incomplete, too long and malformed frames.
"""

from __future__ import annotations

import re

from logplex.syslog.cutting import FrameHeads, cut_frames, cut_lines
from logplex.syslog.message import BOM, MAX_MESSAGE_BYTES, VALID_HEADS, cut_message, has_head

#: The largest frame, in bytes, of which the beginning is kept as a message (PROTOCOL §3).
MAX_FRAME_BYTES = 1_048_576

#: The most digits of a LEN. Longer numbers are malformed.
MAX_LENGTH_DIGITS = 18

#: The most bytes that a decoder keeps between two chunks: a message, and what stands before it.
MAX_HELD_BYTES = len(BOM) + len(b"%d " % MAX_FRAME_BYTES) + MAX_MESSAGE_BYTES

_PRI = rb"<[0-9]{1,3}>"
_BOM = rb"(?:\xef\xbb\xbf)?"
_PART_OF_PRI = rb"(?:\xef(?:\xbb)?|\xef\xbb\xbf|%b<[0-9]{0,3})" % _BOM
_LEN = rb"[1-9][0-9]{0,17}"

_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
_COUNTED = re.compile(rb"%b(%b) (?=%b(%b))" % (_BOM, _LEN, _BOM, _PRI))
_LINE = re.compile(rb"%b(?=(%b1) )" % (_BOM, _PRI))
# The end of a chunk may cut off a start of a frame or a line here.
_PART_OF_A_START = re.compile(
    rb"(?:\xef(?:\xbb(?:\xbf)?)?|%b%b(?: %b?)?|%b<(?:[0-9]{0,3}|[0-9]{1,3}>1?))\Z"
    % (_BOM, _LEN, _PART_OF_PRI, _BOM)
)
_PART_OF_A_VERSION = re.compile(rb"%b%b %b%b1?\Z" % (_BOM, _LEN, _BOM, _PRI))
_BLANK = re.compile(rb"[\r\n\0]+")
_LINE_END = re.compile(rb"[\n\0]")
_NOT_BLANK_LINE = re.compile(rb"[^\r\n\0][^\n\0]*")
# A malformed stretch ends at a line end before a start, or at a counted frame: the space after LEN.
_RESUME = re.compile(
    rb"[\n\0]\r*(?=%b%b %b%b|%b%b1 )|(?P<space> )(?=%b(?P<pri>%b1) )"
    % (_BOM, _LEN, _BOM, _PRI, _BOM, _PRI, _BOM, _PRI)
)
# The end of a malformed stretch that the next chunk may make the start of a counted frame.
_PART_OF_RESUME = re.compile(
    rb"[0-9]{1,%d}(?: (?:%b|%b%b1?)?)?\Z" % (MAX_LENGTH_DIGITS + 1, _PART_OF_PRI, _BOM, _PRI)
)
_LONGEST_PART_OF_RESUME = MAX_LENGTH_DIGITS + 1 + len(b" " + BOM + b"<191>1")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LONE_CR = re.compile(rb"\r(?!\n)")
_DIGITS = b"0123456789"


class FramingError(ValueError):
    """
    A body is not whole octet-counted frames, one after another (PROTOCOL §4).

    :ivar byte: the position of the frame that is malformed or cut off, from 1.
    :ivar frame: the number of that frame, from 1.
    """

    def __init__(self, byte: int, frame: int) -> None:
        super().__init__(f"byte {byte}, frame {frame}")
        self.byte = byte
        self.frame = frame


class TooManyMessages(ValueError):
    """A body holds more messages than the node takes at once."""


class FrameDecoder:
    """
    Find the messages in the bytes of one connection (PROTOCOL §3).

    Messages are octet-counted frames (RFC 6587 §3.4.1) and lines that begin with ``<PRI>1``
    (§3.4.2), in any mixture and in any number of pieces. The decoder skips everything else. It
    keeps at most :data:`MAX_HELD_BYTES` between two chunks, and reads no byte more than a few
    times.

    :ivar malformed: the number of stretches that were skipped, each at most one line.
    :ivar truncated: the number of messages that were too long and lost their end.
    :ivar unreadable: the number of messages without a head of RFC 5424.
    """

    def __init__(self, heads: FrameHeads | None = None) -> None:
        """
        :param heads: the memory of frame heads that many decoders share; ``None``: one of its own.
        """
        self._heads = FrameHeads() if heads is None else heads
        self.malformed = 0
        self.truncated = 0
        self.unreadable = 0
        self._held = bytearray()
        # With fewer bytes than this, nothing new can be found in the held bytes. In a line, a line
        # end decides too.
        self._needed = 0
        self._in_line = False
        # The number of bytes to skip of a frame that is too long.
        self._skip = 0
        self._in_rest_of_line = False
        self._in_malformed = False
        # The byte that ended the first line of the connection: LF, NUL, or none yet.
        self._first_end = b""
        # The next NUL in the chunk, if it is not before the position that is read.
        self._nul = -1

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        Take the next bytes of the connection.

        :return: the messages that are now complete, in order, without their framing.
        """
        held = self._held
        if held:
            if len(held) + len(chunk) < self._needed and not (
                self._in_line and self._find_end(chunk, 0, len(chunk)) >= 0
            ):
                held += chunk
                return []
            chunk = bytes(held) + chunk
            held.clear()
        self._nul = -1
        frames: list[bytes] = []
        position = 0
        while position < len(chunk):
            reached: int | None
            if self._skip:
                reached = self._skip_counted(chunk, position)
            elif self._in_rest_of_line:
                reached = self._skip_rest_of_line(chunk, position)
            elif self._in_malformed:
                reached = self._skip_malformed(chunk, position)
            else:
                found, position = cut_frames(chunk, position, self._heads)
                frames += found
                if position == len(chunk):
                    break
                reached = self._read_other(chunk, position, frames)
                if reached is None:
                    held += chunk[position:]
                    break
            position = reached
        return frames

    def finish(self) -> list[bytes]:
        """
        Take the end of the connection.

        :return: the last line, if its sender ended it with the connection instead of a line end.
            An incomplete frame is malformed.
        """
        rest = bytes(self._held)
        self._held.clear()
        if rest and self._in_line:
            return [rest.removesuffix(b"\r")]
        self.malformed += bool(rest) and not self._in_malformed
        return []

    # Each of these reads on at a position and returns the position that it reached, or None if
    # _needed bytes must be there first.

    def _read_other(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        self._in_line = False
        blank = _BLANK.match(chunk, start)
        if blank:
            return blank.end()
        counted = _COUNTED.match(chunk, start)
        if counted:
            return self._read_counted(chunk, counted, frames)
        line = _LINE.match(chunk, start)
        if line and line[1] in VALID_HEADS:
            if line.end() > start:
                return line.end()
            return self._read_lines(chunk, start, frames)
        if _PART_OF_A_START.match(chunk, start):
            self._needed = len(chunk) + 1 - start
            return None
        return self._begin_malformed(start)

    def _read_counted(
        self, chunk: bytes, counted: re.Match[bytes], frames: list[bytes]
    ) -> int | None:
        start, text = counted.span()
        size = int(counted[1])
        head_end = counted.end(2)
        if size < head_end - text:
            return self._begin_malformed(start)
        if size > MAX_FRAME_BYTES:
            if _PART_OF_A_VERSION.match(chunk, start):
                self._needed = len(chunk) + 1 - start
                return None
            if chunk[head_end : head_end + 2] != b"1 ":
                return self._begin_malformed(start)
            self.malformed += 1
            self._skip = size
            return text
        kept = min(size, MAX_MESSAGE_BYTES)
        if text + kept > len(chunk):
            self._needed = text + kept - start
            return None
        message = chunk[text : text + kept].removeprefix(BOM)
        self.unreadable += not has_head(message)
        if size > kept:
            message = cut_message(message)
            self.truncated += 1
            self._skip = size - kept
        frames.append(message)
        return text + kept

    def _read_lines(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        if self._first_end == b"\0":
            lines, position = cut_lines(chunk, start, None, b"\0")
        else:
            lines, position = cut_lines(chunk, start, self._next_nul(chunk, start))
            if lines:
                self._first_end = b"\n"
        if lines:
            frames += lines
            return position
        longest = start + MAX_MESSAGE_BYTES
        end = self._find_end(chunk, start, longest + 2)
        if end >= 0:
            text_end = end - (chunk[end - 1 : end] == b"\r")
            if text_end <= longest:
                frames.append(chunk[start:text_end])
                self._first_end = self._first_end or chunk[end : end + 1]
                return end + 1
        elif chunk[longest:] in (b"", b"\r"):
            self._in_line = True
            self._needed = MAX_MESSAGE_BYTES + 1
            return None
        frames.append(cut_message(chunk[start:longest]))
        self.truncated += 1
        self._in_rest_of_line = True
        return longest

    def _begin_malformed(self, start: int) -> int:
        self.malformed += 1
        self._in_malformed = True
        return start

    def _skip_malformed(self, chunk: bytes, start: int) -> int:
        """Skip to the next start of a message, or past the last line end of the chunk."""
        position = start
        while found := _RESUME.search(chunk, position):
            if not found["space"]:
                return self._resume(chunk, start, found.end())
            before = chunk[max(start, found.start() - MAX_LENGTH_DIGITS - 1) : found.start()]
            digits = before[len(before.rstrip(_DIGITS)) :]
            if _is_length(digits) and int(digits) >= found.end("pri") - found.end():
                return self._resume(chunk, start, found.start() - len(digits))
            position = found.end()
        end = max(chunk.rfind(b"\n", start), chunk.rfind(b"\0", start)) + 1
        if end:
            return self._resume(chunk, start, end)
        window = max(start, len(chunk) - _LONGEST_PART_OF_RESUME)
        part = _PART_OF_RESUME.search(chunk, window)
        if part:
            self._held += chunk[part.start() :]
            self._needed = 0
        return len(chunk)

    def _resume(self, chunk: bytes, start: int, end: int) -> int:
        """Count the malformed lines after the first one, which has been counted already."""
        first_end = _LINE_END.search(chunk, start, end)
        if first_end:
            self.malformed += len(_NOT_BLANK_LINE.findall(chunk, first_end.end(), end))
        self._in_malformed = False
        return end

    def _skip_rest_of_line(self, chunk: bytes, start: int) -> int:
        end = self._find_end(chunk, start, len(chunk))
        if end < 0:
            return len(chunk)
        self._first_end = self._first_end or chunk[end : end + 1]
        self._in_rest_of_line = False
        return end + 1

    def _skip_counted(self, chunk: bytes, start: int) -> int:
        size = min(self._skip, len(chunk) - start)
        self._skip -= size
        return start + size

    def _find_end(self, chunk: bytes, start: int, stop: int) -> int:
        """Return the position of the next line end, or -1."""
        if self._first_end == b"\0":
            return chunk.find(b"\0", start, stop)
        found = _LINE_END.search(chunk, start, stop)
        return found.start() if found else -1

    def _next_nul(self, chunk: bytes, start: int) -> int:
        if self._nul < start:
            found = chunk.find(b"\0", start)
            self._nul = len(chunk) if found < 0 else found
        return self._nul


def decode_body(
    body: bytes, max_messages: int, heads: FrameHeads | None = None
) -> tuple[list[bytes], int, int]:
    """
    Cut a whole body into its messages (PROTOCOL §4).

    :param heads: the memory of frame heads that many bodies share; ``None``: one of its own.
    :return: the messages, the number of them that were too long and truncated, and the number of
        them without a head of RFC 5424.
    :raises FramingError: a frame is malformed or cut off.
    :raises TooManyMessages: the body holds more than ``max_messages``.
    """
    heads = FrameHeads() if heads is None else heads
    frames: list[bytes] = []
    truncated = 0
    unreadable = 0
    position = len(BOM) if body.startswith(BOM) else 0
    while position < len(body):
        found, position = cut_frames(body, position, heads, max_messages + 1 - len(frames))
        frames += found
        blank_end = _skip_blank_lines(body, position)
        if blank_end > position:
            position = blank_end
        elif position < len(body) and len(frames) <= max_messages:
            message, position, is_truncated = _read_frame(body, position, len(frames) + 1)
            frames.append(message)
            truncated += is_truncated
            unreadable += not has_head(message)
        if len(frames) > max_messages:
            raise TooManyMessages
    return frames, truncated, unreadable


# All blank lines are skipped at once, because they cost their sender little. One regular expression
# that repeats a line would not do: if it can give lines back, it takes 120 bytes of memory for each
# byte of a body, and if it cannot (``++`` after a group), it matches wrongly before Python 3.11.5.


def _skip_blank_lines(body: bytes, start: int) -> int:
    """Return the end of a run of LF and CR LF."""
    ends = _LINE_ENDS.match(body, start)
    if ends is None:
        return start
    lone = _LONE_CR.search(body, start, ends.end())
    return lone.start() if lone else ends.end()


def _read_frame(body: bytes, start: int, number: int) -> tuple[bytes, int, bool]:
    """
    Return the message of a frame, the end of the frame, and true if it was truncated.

    :param number: the frame's number in the body, for errors.
    """
    length = _LENGTH.match(body, start)
    if length:
        text = length.end() + 1
        size = int(length[0])
        end = text + size
        if end <= len(body) and body[text - 1 : text] == b" ":
            message = body[text : min(end, text + MAX_MESSAGE_BYTES)]
            if message.startswith(BOM + b"<"):
                message = message[len(BOM) :]
            if size <= MAX_MESSAGE_BYTES:
                return message, end, False
            if size <= MAX_FRAME_BYTES and message[:1] == b"<":
                return cut_message(message), end, True
    raise FramingError(start + 1, number)


def _is_length(digits: bytes) -> bool:
    return 0 < len(digits) <= MAX_LENGTH_DIGITS and digits[:1] != b"0"
