# SPDX-License-Identifier: Apache-2.0

"""
The fast part of reading messages: cut well-formed frames and lines off the start of a buffer.

:mod:`logplex.syslog.framing` reads incomplete, too long and malformed input.
"""

from __future__ import annotations

import re
from itertools import repeat

from logplex.syslog.message import MAX_MESSAGE_BYTES, VALID_HEADS

_LONGEST_HEAD = len(b"<191>1 ")
_CR = ord("\r")
_FRAME_HEAD = re.compile(rb"([1-9][0-9]{0,4}) (<[0-9]{1,3}>1) ")


class FrameHeads:
    """
    A cache of frame heads and message sizes. A frame head is the first 11 bytes of a frame whose
    LEN has three digits.

    One look-up in the cache checks LEN and PRI together. :meth:`read` checks a head that is not in
    the cache. A full cache (:attr:`MAX_HEADS` heads) is emptied, so that a sender of unusual frames
    slows down other senders only for a moment.

    :ivar sizes: the size of the message for each frame head.
    """

    #: The most heads that are remembered at a time, about 2 MB.
    MAX_HEADS = 20_000

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}

    def read(self, buffer: bytes, start: int) -> tuple[int, int] | None:
        """
        Check the head of a frame, and store the head in the cache.

        :return: the positions of the message's start and end; ``None`` if the frame does not begin
            with ``LEN SP <PRI>1 SP``, or if LEN is not a valid length.
        """
        found = _FRAME_HEAD.match(buffer, start)
        if found is None or found[2] not in VALID_HEADS:
            return None
        size = int(found[1])
        if not len(found[2]) < size <= MAX_MESSAGE_BYTES:
            return None
        text = found.start(2)
        if text == start + 4:
            if len(self.sizes) >= self.MAX_HEADS:
                self.sizes.clear()
            self.sizes[buffer[start : start + 11]] = size
        return text, text + size


def cut_frames(
    buffer: bytes, start: int, heads: FrameHeads, max_frames: int = 1 << 31
) -> tuple[list[bytes], int]:
    """
    Cut whole octet-counted frames off the start of a buffer. A frame is ``LEN SP`` and LEN bytes
    (PROTOCOL §3).

    Stop before the first frame that is incomplete, is too long, or does not begin with ``<PRI>1
    SP``. :mod:`logplex.syslog.framing` reads such a frame.

    :param start: the position of the first frame in the buffer.
    :param heads: the cache of frame heads.
    :param max_frames: the maximum number of frames to cut.
    :return: the messages, and the position after the last cut frame.
    """
    frames: list[bytes] = []
    append = frames.append
    size_of = heads.sizes.get
    length = len(buffer)
    for _ in repeat(None, max_frames):
        size = size_of(buffer[start : start + 11])
        if size is None:
            head = heads.read(buffer, start)
            if head is None:
                break
            text, end = head
        else:
            text = start + 4
            end = text + size
        if end > length:
            break
        append(buffer[text:end])
        start = end
    return frames, start


def cut_lines(
    buffer: bytes, start: int, stop: int | None = None, line_end: bytes = b"\n"
) -> tuple[list[bytes], int]:
    """
    Cut whole lines off the start of a buffer (PROTOCOL §3). The result is without the line ends,
    and without a CR before a line end.

    Stop before the first line that is incomplete, is too long, or does not begin with ``<PRI>1``.

    :param start: the position of the first line in the buffer.
    :param stop: lines that end at this position or later are not cut.
    :param line_end: the byte that ends a line.
    :return: the messages, and the position after the last cut line.
    """
    frames: list[bytes] = []
    append = frames.append
    find = buffer.find
    limit = len(buffer) if stop is None else stop
    while True:
        end = find(line_end, start, start + MAX_MESSAGE_BYTES + 1)
        if (
            not 0 <= end < limit
            or buffer[start : start + _LONGEST_HEAD].split(b" ", 1)[0] not in VALID_HEADS
        ):
            return frames, start
        append(buffer[start : end - 1 if buffer[end - 1] == _CR else end])
        start = end + 1
