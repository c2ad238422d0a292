# SPDX-License-Identifier: Apache-2.0

"""
Cut a whole body into octet-counted frames (PROTOCOL §4). One malformed frame makes the whole body
invalid.
"""

from __future__ import annotations

import re

from logplex.syslog.cutting import FrameHeads, cut_frames
from logplex.syslog.framing import MAX_FRAME_BYTES
from logplex.syslog.message import BOM, MAX_MESSAGE_BYTES, cut_message, has_head

_LENGTH = re.compile(rb"[1-9][0-9]{0,6}")
_LINE_ENDS = re.compile(rb"[\r\n]+")
_LONE_CR = re.compile(rb"\r(?!\n)")


class FramingError(ValueError):
    """
    A body does not consist of whole octet-counted frames (PROTOCOL §4).

    :ivar byte: the position of the first byte of the malformed or incomplete frame; the body's
        first byte has the position 1.
    :ivar frame: the number of the malformed or incomplete frame; the first frame has the number 1.
    """

    def __init__(self, byte: int, frame: int) -> None:
        super().__init__(f"byte {byte}, frame {frame}")
        self.byte = byte
        self.frame = frame


class TooManyMessages(ValueError):
    """A body contains more messages than one request may contain."""


def decode_body(
    body: bytes, max_messages: int, heads: FrameHeads | None = None
) -> tuple[list[bytes], int, int]:
    """
    Cut a whole body into its messages (PROTOCOL §4).

    :param heads: a cache of frame heads, which calls can share; ``None`` to use a new cache.
    :return: the messages, the number of truncated messages, and the number of messages without a
        head of RFC 5424.
    :raises FramingError: a frame is malformed or incomplete.
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
    """Return the position after a sequence of blank lines."""
    ends = _LINE_ENDS.match(body, start)
    if ends is None:
        return start
    lone = _LONE_CR.search(body, start, ends.end())
    return lone.start() if lone else ends.end()


def _read_frame(body: bytes, start: int, number: int) -> tuple[bytes, int, bool]:
    """
    Return the message of a frame, the position after the frame, and true if the message was
    truncated.

    :param number: the number of the frame in the body, for error messages.
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
