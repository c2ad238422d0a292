# SPDX-License-Identifier: Apache-2.0

"""
Syslog over a byte stream (RFC 6587): find the messages in the bytes of a connection.

:mod:`logplex.syslog.cutting` cuts the common cases, whole octet-counted frames and whole lines.
This module reads incomplete, too long and malformed input.
"""

from __future__ import annotations

import re

from logplex.syslog.cutting import FrameHeads, cut_frames, cut_lines
from logplex.syslog.message import BOM, MAX_MESSAGE_BYTES, VALID_HEADS, cut_message, has_head

#: The largest frame, in bytes, of which the beginning is kept as a message (PROTOCOL §3).
MAX_FRAME_BYTES = 1_048_576
#: The most digits of a LEN. Longer numbers are malformed.
MAX_LENGTH_DIGITS = 18
#: The most bytes that a decoder keeps between two chunks: a message, and what stands around it.
MAX_HELD_BYTES = 3 * len(BOM) + 2 * MAX_LENGTH_DIGITS + len(b"1  <191>") + MAX_MESSAGE_BYTES
#: The most lines that are joined to one message.
MAX_JOINED_LINES = 64
_PRI = rb"<[0-9]{1,3}>"
_BOM = rb"(?:\xef\xbb\xbf)?"
_PART_OF_PRI = rb"(?:\xef(?:\xbb)?|\xef\xbb\xbf|%b<[0-9]{0,3})" % _BOM
_LEN = rb"[1-9][0-9]{0,17}"
_COUNTED = re.compile(rb"%b(%b) (?=%b(%b))" % (_BOM, _LEN, _BOM, _PRI))
_LINE = re.compile(rb"%b(?=(%b1) )" % (_BOM, _PRI))
# The end of a chunk may cut off a start of a frame or a line here.
_PART_OF_A_START = re.compile(
    rb"(?:\xef(?:\xbb(?:\xbf)?)?|%b%b(?: %b?)?|%b<(?:[0-9]{0,3}|[0-9]{1,3}>1?))\Z"
    % (_BOM, _LEN, _PART_OF_PRI, _BOM)
)
_PART_OF_A_VERSION = re.compile(rb"%b%b %b%b1?\Z" % (_BOM, _LEN, _BOM, _PRI))
_BLANK = re.compile(rb"%b[\r\n\0]+" % _BOM)
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
# The bytes that follow a frame of a right LEN.
_FOLLOWING = re.compile(rb"\r?[\n\0]|%b%b %b%b|%b%b1 " % (_BOM, _LEN, _BOM, _PRI, _BOM, _PRI))
_FIRST_OF_FOLLOWING = b"123456789<\xef\r\n\0"
_LONGEST_FOLLOWING = 2 * len(BOM) + MAX_LENGTH_DIGITS + len(b" <191>")
_ZERO = ord("0")
_LONGEST_PART_OF_RESUME = MAX_LENGTH_DIGITS + 1 + len(b" " + BOM + b"<191>1")
_DIGITS = b"0123456789"
# The head of a counted frame within what looks like a line, and how many more bytes must come
# before the line is searched for one again.
_NEXT_FRAME = re.compile(rb"[1-9][0-9]{0,6} %b%b1 " % (_BOM, _PRI))
_SEARCH_STEP_BYTES = 1_024


class FrameDecoder:
    """
    Find the messages in the bytes of one connection (PROTOCOL §3).

    Messages are octet-counted frames (RFC 6587 §3.4.1) and lines that begin with ``<PRI>1``
    (§3.4.2), in any mixture and cut into any chunks. The decoder skips everything else. It keeps at
    most :data:`MAX_HELD_BYTES` between two chunks, and reads each byte only a few times.

    :ivar malformed: the number of skipped pieces of malformed input; a piece is at most one line.
    :ivar truncated: the number of messages that were too long and were shortened.
    :ivar unreadable: the number of messages without a head of RFC 5424.
    """

    def __init__(self, heads: FrameHeads | None = None, join_lines: bool = False) -> None:
        """
        Make a decoder for one connection.

        :param heads: a cache of frame heads, which decoders can share; ``None`` to use a new cache.
        :param join_lines: true to join a line without a head to the message before it, up to
            :data:`MAX_JOINED_LINES` lines. The decoder then holds back the last message; see
            :meth:`flush`.
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
        self._has_counted = False
        self._is_finished = False
        self._joins_lines = join_lines
        # The lines of a message that more lines may be joined to.
        self._open: list[bytes] = []
        # The next NUL in the chunk, if it is not before the position that is read.
        self._nul = -1

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        Decode the next bytes of the connection.

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
                if found:
                    self._has_counted = True
                    self._close(frames)
                    frames += found
                if position == len(chunk):
                    break
                reached = self._read_other(chunk, position, frames)
                if reached is None:
                    held += chunk[position:]
                    break
            position = reached
        return frames

    @property
    def in_malformed(self) -> bool:
        """True if the last decoded bytes belong to a malformed piece whose end has not arrived."""
        return self._in_malformed

    def finish(self) -> list[bytes]:
        """
        Decode the rest when the connection has ended. An incomplete frame is malformed.

        :return: the messages in the rest.
        """
        frames: list[bytes] = []
        looks_like_line = self._in_line and self._has_counted and not self._first_end
        if (self._in_malformed or looks_like_line) and self._held:
            self._is_finished = True
            self._needed = 0
            frames = self.feed(b"")
        rest = bytes(self._held)
        self._held.clear()
        line = rest.removesuffix(b"\r")
        is_joined = bool(self._open) and self._in_line and not _LINE.match(line)
        if is_joined and line and self._has_room(line):
            self._open.append(line)
            line = b""
        self._close(frames)
        if self._in_line and _LINE.match(line):
            frames.append(line)
        else:
            self.malformed += bool(line) and line != BOM and not self._in_malformed
        return frames

    @property
    def is_open(self) -> bool:
        """True if the decoder holds back a message to which more lines may be joined."""
        return bool(self._open)

    def flush(self) -> list[bytes]:
        """Return the message that was held back. No more lines are joined to this message."""
        frames: list[bytes] = []
        self._close(frames)
        return frames

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
        if self._open:
            return self._read_joined(chunk, start, frames)
        return self._begin_malformed(start, frames)

    def _read_joined(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        """Join a line to the message before it, unless this message would become too long."""
        end = self._find_end(chunk, start, start + MAX_MESSAGE_BYTES + 2)
        if end < 0 and len(chunk) - start <= MAX_MESSAGE_BYTES:
            self._in_line = True
            self._needed = MAX_MESSAGE_BYTES + 1
            return None
        line = chunk[start:end].removesuffix(b"\r")
        if end < 0 or not self._has_room(line):
            return self._begin_malformed(start, frames)
        self._open.append(line)
        return end + 1

    def _has_room(self, line: bytes) -> bool:
        """Return true if a line can be joined to the message that is held back."""
        size = sum(map(len, self._open)) + len(self._open) + len(line)
        return size <= MAX_MESSAGE_BYTES and len(self._open) < MAX_JOINED_LINES

    def _keep_last(self, frames: list[bytes]) -> None:
        """Hold back the last message, because more lines may be joined to it."""
        if self._joins_lines:
            self._open.append(frames.pop())

    def _close(self, frames: list[bytes]) -> None:
        if self._open:
            frames.append(b"\n".join(self._open))
            self._open.clear()

    def _read_counted(
        self, chunk: bytes, counted: re.Match[bytes], frames: list[bytes]
    ) -> int | None:
        start, text = counted.span()
        size = int(counted[1])
        head_end = counted.end(2)
        if size < head_end - text:
            return self._begin_malformed(start, frames)
        if size > MAX_FRAME_BYTES:
            if _PART_OF_A_VERSION.match(chunk, start):
                self._needed = len(chunk) + 1 - start
                return None
            if chunk[head_end : head_end + 2] != b"1 ":
                return self._begin_malformed(start, frames)
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
        self._close(frames)
        frames.append(message)
        self._has_counted = True
        return text + kept

    def _read_lines(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        longest = start + MAX_MESSAGE_BYTES
        if self._has_counted and not self._first_end:
            end = self._find_end(chunk, start, longest + 2)
            if _NEXT_FRAME.search(chunk, start, min(end, longest) if end >= 0 else longest):
                # LEN of the frame before was too large by the LEN of this one, which looks like a
                # line now. Without line ends this line would take all later frames.
                return self._begin_malformed(start, frames)
        if self._first_end == b"\0":
            lines, position = cut_lines(chunk, start, None, b"\0")
        else:
            lines, position = cut_lines(chunk, start, self._next_nul(chunk, start))
            if lines:
                self._first_end = b"\n"
        if lines:
            self._close(frames)
            frames += lines
            self._keep_last(frames)
            return position
        end = self._find_end(chunk, start, longest + 2)
        if end >= 0:
            text_end = end - (chunk[end - 1 : end] == b"\r")
            if text_end <= longest:
                self._close(frames)
                frames.append(chunk[start:text_end])
                self._keep_last(frames)
                self._first_end = self._first_end or chunk[end : end + 1]
                return end + 1
        elif chunk[longest:] in (b"", b"\r"):
            self._in_line = True
            self._needed = MAX_MESSAGE_BYTES + 1
            if self._has_counted and not self._first_end:
                self._needed = min(self._needed, len(chunk) - start + _SEARCH_STEP_BYTES)
            return None
        self._close(frames)
        frames.append(cut_message(chunk[start:longest]))
        self.truncated += 1
        self._in_rest_of_line = bool(self._first_end) or not self._has_counted
        self._in_malformed = not self._in_rest_of_line
        return longest

    def _begin_malformed(self, start: int, frames: list[bytes]) -> int:
        self._close(frames)
        self.malformed += 1
        self._in_malformed = True
        return start

    def _skip_malformed(self, chunk: bytes, start: int) -> int:
        """Skip malformed bytes up to the next message, or past the last line end."""
        position = start
        while found := _RESUME.search(chunk, position):
            if not found["space"]:
                return self._resume(chunk, start, found.end())
            before = chunk[max(start, found.start() - MAX_LENGTH_DIGITS - 1) : found.start()]
            digits = before[len(before.rstrip(_DIGITS)) :]
            least = found.end("pri") - found.end()
            count = self._count_digits(chunk, found.end(), digits[-MAX_LENGTH_DIGITS:], least)
            if count is None:
                undecided = found.start() - len(digits)
                end = self._last_line_end(chunk, start, undecided)
                if end:
                    return self._resume(chunk, start, end)
                self._held += chunk[undecided:]
                return len(chunk)
            if count:
                return self._resume(chunk, start, found.start() - count)
            position = found.end()
        end = self._last_line_end(chunk, start, len(chunk))
        if end:
            return self._resume(chunk, start, end)
        window = max(start, len(chunk) - _LONGEST_PART_OF_RESUME)
        part = _PART_OF_RESUME.search(chunk, window)
        if part:
            self._held += chunk[part.start() :]
            self._needed = 0
        return len(chunk)

    def _last_line_end(self, chunk: bytes, start: int, stop: int) -> int:
        """Return the position after the last line end in a part of the chunk; else 0."""
        return max(chunk.rfind(b"\n", start, stop), chunk.rfind(b"\0", start, stop)) + 1

    def _count_digits(self, chunk: bytes, text: int, digits: bytes, least: int) -> int | None:
        """
        Return the number of digits of the LEN behind malformed text; 0 if there is no LEN.

        If the malformed text ends in digits, LEN is ambiguous. Choose the shortest LEN after whose
        frame a new frame or a line end follows; otherwise the longest LEN within the bound.

        :param text: the position of the message.
        :param digits: all digits before the message.
        :param least: the minimum value of LEN.
        :return: ``None`` if more bytes are needed to decide.
        """
        counts = [
            count
            for count in range(1, len(digits) + 1)
            if digits[-count] != _ZERO and int(digits[-count:]) >= least
        ]
        while len(counts) > 1 and int(digits[-counts[-1] :]) > MAX_FRAME_BYTES:
            counts.pop()
        for count in counts[:-1]:
            end = text + int(digits[-count:])
            if end - text > MAX_MESSAGE_BYTES:
                break
            if _FOLLOWING.match(chunk, end) or (self._is_finished and end == len(chunk)):
                return count
            is_cut = len(chunk) < end + _LONGEST_FOLLOWING and not self._is_finished
            if is_cut and (len(chunk) <= end or chunk[end] in _FIRST_OF_FOLLOWING):
                self._needed = len(digits) + 1 + end - text + 1
                return None
        return counts[-1] if counts else 0

    def _resume(self, chunk: bytes, start: int, end: int) -> int:
        """Count the malformed lines of a skipped piece, except the first line."""
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
        """Return the position of the next line end; -1 if there is no line end."""
        if self._first_end == b"\0":
            return chunk.find(b"\0", start, stop)
        found = _LINE_END.search(chunk, start, stop)
        return found.start() if found else -1

    def _next_nul(self, chunk: bytes, start: int) -> int:
        if self._nul < start:
            found = chunk.find(b"\0", start)
            self._nul = len(chunk) if found < 0 else found
        return self._nul
