# SPDX-License-Identifier: Apache-2.0

"""
The first part of the inner loop: cut the common frames and lines off a buffer.

:mod:`logplex.syslog.framing` reads all other input.
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
    A cache of frame heads: the first 11 bytes of a frame, if LEN has three digits, and the size of
    its message.

    One look-up checks LEN and PRI together. :meth:`read` decides about a head that is not stored
    yet. When :attr:`MAX_HEADS` are stored, it forgets them all, so that a sender of odd frames
    slows the others down for a moment only.

    :ivar sizes: size by head, for :func:`cut_frames`.
    """

    #: The most heads that are remembered at a time, about 2 MB.
    MAX_HEADS = 20_000

    def __init__(self) -> None:
        self.sizes: dict[bytes, int] = {}

    def read(self, buffer: bytes, start: int) -> tuple[int, int] | None:
        """
        Return the position of a frame's message and of its end.

        :return: ``None`` if the frame does not begin with ``LEN SP <PRI>1 SP``, or LEN is not the
            length of a message.
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
    Cut whole octet-counted frames, ``LEN SP`` and LEN bytes (PROTOCOL §3), off a buffer.

    Stop before the first frame that is incomplete, is too long, or does not begin with
    ``<PRI>1 SP``: :mod:`logplex.syslog.framing` decides about that one.

    :param start: the position of the first frame in the buffer.
    :param heads: the heads that were read before.
    :param max_frames: the most frames to cut.
    :return: the messages, and the position after the last of them.
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
    Cut whole lines that begin with ``<PRI>1`` off a buffer (PROTOCOL §3), without their line end
    and a CR before it.

    Stop before the first line that is incomplete, is too long, or does not begin with ``<PRI>1``.

    :param start: the position of the first line in the buffer.
    :param stop: lines that end at this position or later are not cut.
    :param line_end: the byte that ends a line.
    :return: the messages, and the position after the last line end.
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
