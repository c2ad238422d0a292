"""
Syslog over a byte stream (RFC 6587): where one message ends and the next begins.

The common cases, whole octet-counted frames and whole lines, are cut by
:mod:`logplex.syslog.inner`; here is everything else that senders, broken senders and strangers
write.
"""

from __future__ import annotations

import re

from logplex.syslog.inner import cut_frames, cut_lines
from logplex.syslog.message import MAX_MESSAGE_BYTES, VALID_HEADS

#: LEN may be larger than a message, up to this: such a frame is truncated (PROTOCOL §3).
MAX_FRAME_BYTES = 1_048_576

#: The most bytes that a decoder keeps between two chunks: a message, and LEN and SP before it.
MAX_HELD_BYTES = len(b"%d " % MAX_FRAME_BYTES) + MAX_MESSAGE_BYTES

_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
_HEAD = re.compile(rb"<[0-9]{1,3}>1 ")
_PART_OF_A_HEAD = re.compile(rb"<(?:[0-9]{0,3}|[0-9]{1,3}>1?)\Z")
_FRAME = re.compile(rb"[1-9][0-9]* |<[0-9]{1,3}>1 ")
_LINE_BEFORE_A_FRAME = re.compile(rb"\n(?=[1-9][0-9]* |<[0-9]{1,3}>1 )")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LONE_CR = re.compile(rb"\r(?!\n)")

_NOTHING = 0
_TO_THE_NEXT_LF = -1


class FramingError(ValueError):
    """A body is not what PROTOCOL §4 says: whole octet-counted frames, one after another."""


class TooManyMessages(ValueError):
    """A body holds more messages than are taken at once."""


class FrameDecoder:
    """
    Finds the messages in one connection's bytes (PROTOCOL §3).

    Octet-counted frames (RFC 6587 §3.4.1) and lines that begin with ``<PRI>1`` (§3.4.2) are
    messages, in any mixture and in any number of pieces; everything else is skipped. Keeps at
    most :data:`MAX_HELD_BYTES` between two chunks, and looks at no byte more than a few times.

    :ivar malformed: stretches that were skipped, each up to the next LF.
    :ivar truncated: messages that lost what came after their first 10,240 bytes.
    """

    def __init__(self) -> None:
        self.malformed = 0
        self.truncated = 0
        self._held = bytearray()
        # With fewer bytes than this nothing new can be found in what is held; in a line, an LF
        # decides too.
        self._needed = 0
        self._in_line = False
        # How many bytes of a truncated frame are still to come, or _TO_THE_NEXT_LF.
        self._skip = _NOTHING

    def feed(self, chunk: bytes) -> list[bytes]:
        """
        Take the connection's next bytes.

        :return: the messages that are now complete, in order, without what framed them.
        """
        held = self._held
        if held:
            if len(held) + len(chunk) < self._needed and not (self._in_line and b"\n" in chunk):
                held += chunk
                return []
            chunk = bytes(held) + chunk
            held.clear()
        frames: list[bytes] = []
        position = 0
        while position < len(chunk):
            if self._skip:
                position = self._skipped(chunk, position)
                continue
            found, position = cut_frames(chunk, position)
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
        The connection has ended.

        :return: the last line, where its sender ended it with the connection instead of an LF.
            A frame that is not complete is malformed.
        """
        rest = bytes(self._held)
        self._held.clear()
        if rest and self._in_line:
            return [rest.removesuffix(b"\r")]
        self.malformed += bool(rest)
        return []

    # Each of these goes on at a position, and tells how far it came; None: as many bytes as it
    # has put into _needed must be there first.

    def _read_other(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        self._in_line = False
        garbage_end = _skip_garbage_lines(chunk, start)
        if garbage_end > start:
            self.malformed += chunk.count(b"\n", start, garbage_end)
            return garbage_end
        if chunk[start : start + 1] == b"<":
            lines, position = cut_lines(chunk, start)
            frames += lines
            return position if lines else self._read_line(chunk, start, frames)
        length = _LENGTH.match(chunk, start)
        if length is None or int(length[0]) > MAX_FRAME_BYTES:
            return self._malformed(start)
        return self._read_counted(chunk, length, frames)

    def _read_counted(
        self, chunk: bytes, length: re.Match[bytes], frames: list[bytes]
    ) -> int | None:
        start, digits_end = length.span()
        size = int(length[0])
        delimiter = b" " if size <= MAX_MESSAGE_BYTES else b" <"
        after = chunk[digits_end : digits_end + len(delimiter)]
        if not delimiter.startswith(after):
            return self._malformed(start)
        if after != delimiter:
            self._needed = digits_end + len(after) + 1 - start
            return None
        text = digits_end + 1
        kept = min(size, MAX_MESSAGE_BYTES)
        if text + kept > len(chunk):
            self._needed = text + kept - start
            return None
        frames.append(chunk[text : text + kept])
        if size > kept:
            self.truncated += 1
            self._skip = size - kept
        return text + kept

    def _read_line(self, chunk: bytes, start: int, frames: list[bytes]) -> int | None:
        head = _HEAD.match(chunk, start)
        if head is None or head[0][:-1] not in VALID_HEADS:
            if _PART_OF_A_HEAD.match(chunk, start):
                self._needed = len(chunk) + 1 - start
                return None
            return self._malformed(start)
        longest = start + MAX_MESSAGE_BYTES
        end = chunk.find(b"\n", start, longest + 2)
        if end >= 0:
            text_end = end - (chunk[end - 1 : end] == b"\r")
            if text_end <= longest:
                frames.append(chunk[start:text_end])
                return end + 1
        elif chunk[longest:] in (b"", b"\r"):
            self._in_line = True
            self._needed = MAX_MESSAGE_BYTES + 1
            return None
        frames.append(chunk[start:longest])
        self.truncated += 1
        self._skip = _TO_THE_NEXT_LF
        return longest

    def _malformed(self, start: int) -> int:
        self.malformed += 1
        self._skip = _TO_THE_NEXT_LF
        return start

    def _skipped(self, chunk: bytes, start: int) -> int:
        if self._skip == _TO_THE_NEXT_LF:
            end = chunk.find(b"\n", start) + 1
            if not end:
                return len(chunk)
            self._skip = _NOTHING
            return end
        size = min(self._skip, len(chunk) - start)
        self._skip -= size
        return start + size


def decode_body(body: bytes, max_messages: int) -> tuple[list[bytes], int]:
    """
    Cut a whole body into its messages (PROTOCOL §4).

    :return: the messages, and how many of them were too long and truncated.
    :raises FramingError: one frame is malformed or cut off.
    :raises TooManyMessages: there are more than these.
    """
    frames: list[bytes] = []
    truncated = 0
    position = 0
    while position < len(body):
        found, position = cut_frames(body, position, max_messages + 1 - len(frames))
        frames += found
        blank_end = _skip_blank_lines(body, position)
        if blank_end > position:
            position = blank_end
        elif position < len(body) and len(frames) <= max_messages:
            text, position = _long_frame(body, position)
            frames.append(text)
            truncated += 1
        if len(frames) > max_messages:
            raise TooManyMessages
    return frames, truncated


# Lines that are skipped are cheap to send, so all of them are skipped at once. Not by one regular
# expression that repeats a line: if it could give lines back again, it would take 120 bytes of
# memory for each byte of a body, and if it could not (``++`` after a group), it would match wrongly
# before Python 3.11.5.


def _skip_garbage_lines(chunk: bytes, start: int) -> int:
    """Where the whole lines end that begin neither as a frame nor as a message."""
    if _FRAME.match(chunk, start):
        return start
    last = _LINE_BEFORE_A_FRAME.search(chunk, start)
    return last.end() if last else max(start, chunk.rfind(b"\n", start) + 1)


def _skip_blank_lines(body: bytes, start: int) -> int:
    """Where a run of LF and CR LF ends."""
    ends = _LINE_ENDS.match(body, start)
    if ends is None:
        return start
    lone = _LONE_CR.search(body, start, ends.end())
    return lone.start() if lone else ends.end()


def _long_frame(body: bytes, start: int) -> tuple[bytes, int]:
    """The message of a frame that is too long, and where the frame ends."""
    length = _LENGTH.match(body, start)
    if length:
        text = length.end() + 1
        end = text + int(length[0])
        too_long = MAX_MESSAGE_BYTES < end - text <= MAX_FRAME_BYTES
        if too_long and body[text - 1 : text + 1] == b" <" and end <= len(body):
            return body[text : text + MAX_MESSAGE_BYTES], end
    raise FramingError(f"malformed or cut off at byte {start}")
