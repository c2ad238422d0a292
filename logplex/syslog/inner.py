"""
The inner loop: all work that is done for every single message, on lists of ``bytes``.

Nothing outside this module is done per message on the way from a socket to a drain. Measured in
``bench/``.
"""

from __future__ import annotations

import re
from collections import deque
from collections.abc import Iterable, Mapping
from itertools import repeat
from typing import TypeVar

from logplex.syslog.message import MAX_MESSAGE_BYTES, VALID_HEADS, text_of
from logplex.syslog.notices import timestamp

Stream = TypeVar("Stream")

#: The route of a token: its name, its channel's pending messages, and the channel's stream.
Route = tuple[bytes, list[bytes], Stream]

_LONGEST_HEAD = len(b"<191>1 ")
_CR = ord("\r")
_SPACES = re.compile(rb" +")
_FRAME_HEAD = re.compile(rb"([1-9][0-9]{0,4}) (<[0-9]{1,3}>1) ")


class FrameHeads:
    """
    The memory of frame heads that were read: the size of a message by the first 11 bytes of its
    frame, for LENs of three digits, as most frames have.

    One look-up here checks LEN and PRI, in two thirds of the time of two look-ups in constant
    tables. Only :meth:`read` decides about a head. When it has stored :attr:`MAX_HEADS`, it forgets
    them all, so that a sender of odd frames slows the others down for a moment only.

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


class _Lengths(dict[int, bytes]):
    """``LEN SP`` by LEN: with a look-up and ``join`` a frame takes 0.32 µs, with ``%`` 0.42."""

    def __missing__(self, size: int) -> bytes:
        return b"%d " % size


_LENGTHS = _Lengths({size: b"%d " % size for size in range(1, MAX_MESSAGE_BYTES + 1)})


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


def sort_frames(
    frames: Iterable[bytes],
    routes: Mapping[bytes, Route[Stream]],
    touched: list[Stream],
    now: float,
) -> list[bytes]:
    """
    Cook each frame whose token is known, and append it to its channel's pending list.

    :param frames: whole messages; the token is the fourth of the fields that spaces part.
    :param routes: by token id.
    :param touched: gets the stream of every channel whose pending list was empty, once.
    :param now: seconds since the epoch, the time of arrival.
    :return: the frames whose token is in no route.
    """
    unknown = []
    for frame in frames:
        try:
            fields = frame.split(b" ", 6)
            _, time, host, token, process, msgid, _ = fields
            name, pending, stream = routes[token]
        except (ValueError, KeyError):
            token = token_of(frame)
            route = routes.get(token)
            if route is None:
                unknown.append(frame)
                continue
            name, pending, stream = route
            cooked = _cook(frame, token, name, now)
        else:
            # Most heads have a time, no runs of spaces, and no room for the token in other fields.
            if (
                process
                and msgid
                and time != b"-"
                and len(host) + len(process) + len(msgid) < len(token)
            ):
                fields[3] = name
                cooked = b" ".join(fields)
            else:
                cooked = _cook(frame, token, name, now)
        if not pending:
            touched.append(stream)
        pending.append(cooked)
    return unknown


def cook_frames(frames: Iterable[bytes], token: bytes, name: bytes, now: float) -> list[bytes]:
    """
    Cook each frame (PROTOCOL §2): put the token's name in the place of the token's id in the head,
    or, if the head has none, of its first occurrence in the text.
    """
    cooked = []
    for frame in frames:
        fields = frame.split(b" ", 6)
        if (
            len(fields) == 7
            and fields[3] == token
            and fields[4]
            and fields[5]
            and fields[1] != b"-"
            and len(fields[2]) + len(fields[4]) + len(fields[5]) < len(token)
        ):
            fields[3] = name
            cooked.append(b" ".join(fields))
        else:
            cooked.append(_cook(frame, token, name, now))
    return cooked


def token_of(frame: bytes) -> bytes:
    """Return the token of a frame, its fourth field; empty if it has fewer."""
    fields = frame.split(b" ", 4)
    if len(fields) < 5 or b"" in fields[:4]:
        fields = _SPACES.split(frame, 4)
    return fields[3] if len(fields) > 3 else b""


def _cook(frame: bytes, token: bytes, name: bytes, now: float) -> bytes:
    fields = frame.split(b" ", 6)
    if len(fields) < 7:
        return frame.replace(token, name, 1)
    if b"" in fields[:6]:
        fields = _SPACES.split(frame, 6)
    rest = fields.pop()
    if fields[1] == b"-":
        fields[1] = timestamp(now)
    head = b" ".join(fields)
    if token in head:
        return b"%b %b" % (head.replace(token, name), rest)
    return b"%b %b" % (head, rest.replace(token, name, 1))


def take_http_frames(
    queue: deque[bytes], max_bytes: int, max_messages: int
) -> tuple[list[bytes], int]:
    """
    Take messages from the left of the queue and format them for an HTTP drain (PROTOCOL §8):
    ``LEN SP <PRI>1 SP TIME SP host SP SOURCE SP PROCID SP - SP MSG``.

    :param max_bytes: of all frames together; a first message that is larger goes alone.
    :return: the frames, and the number of messages that were taken but left out because they cannot
        be parsed.
    """
    frames: list[bytes] = []
    unparsable = 0
    lengths = _LENGTHS
    room = max_bytes
    while queue and len(frames) < max_messages:
        message = queue.popleft()
        fields = message.split(b" ", 7)
        if len(fields) < 8 or fields[6] != b"-":
            fields = _fields(message)
        head, time, _, source, process, _, _, text = fields
        if head not in VALID_HEADS:
            unparsable += 1
            continue
        body = b" ".join((head, time, b"host", source, process, b"-", text))
        frame = lengths[len(body)] + body
        room -= len(frame)
        if room < 0 and frames:
            queue.appendleft(message)
            break
        frames.append(frame)
    return frames, unparsable


def take_syslog_frames(
    queue: deque[bytes], drain_token: bytes, max_bytes: int
) -> tuple[list[bytes], int]:
    """
    Take messages from the left of the queue and format them for a syslog drain over TCP or TLS
    (PROTOCOL §9): ``LEN SP <PRI>1 SP TIME SP TOKEN SP SOURCE SP PROCID SP - SP - SP MSG LF``.

    :param max_bytes: of all frames together; a first message that is larger goes alone.
    :return: the frames, and the number of messages that were taken but left out because they cannot
        be parsed.
    """
    frames: list[bytes] = []
    unparsable = 0
    lengths = _LENGTHS
    room = max_bytes
    while queue:
        message = queue.popleft()
        fields = message.split(b" ", 7)
        if len(fields) < 8 or fields[6] != b"-":
            fields = _fields(message)
        head, time, _, source, process, _, _, text = fields
        if head not in VALID_HEADS:
            unparsable += 1
            continue
        body = b" ".join((head, time, drain_token, source, process, b"- -", text))
        if body[-1:] != b"\n":
            body += b"\n"
        frame = lengths[len(body)] + body
        room -= len(frame)
        if room < 0 and frames:
            queue.appendleft(message)
            break
        frames.append(frame)
    return frames, unparsable


def take_datagrams(
    queue: deque[bytes], drain_token: bytes, max_messages: int
) -> tuple[list[bytes], int]:
    """
    Take messages from the left of the queue and format them for a syslog drain over UDP
    (PROTOCOL §9): as over TCP, one message a datagram, without LEN and without an added LF.

    :return: the datagrams, and the number of messages that were taken but left out because they
        cannot be parsed.
    """
    datagrams: list[bytes] = []
    unparsable = 0
    while queue and len(datagrams) < max_messages:
        message = queue.popleft()
        fields = message.split(b" ", 7)
        if len(fields) < 8 or fields[6] != b"-":
            fields = _fields(message)
        head, time, _, source, process, _, _, text = fields
        if head not in VALID_HEADS:
            unparsable += 1
            continue
        datagrams.append(
            b"%b %b %b %b %b - - %b" % (head, time, drain_token, source, process, text)
        )
    return datagrams, unparsable


def tail_lines(
    messages: Iterable[bytes], source: bytes | None, ps: bytes | None
) -> tuple[list[bytes | None], int]:
    """
    Format messages for a reader (PROTOCOL §7): ``TIME SP SOURCE[PROCID]: MSG LF``.

    :param source: only messages whose SOURCE is this; ``None``: any.
    :param ps: only messages whose PROCID is this, or begins with it and a dot; ``None``: any.
    :return: a line or ``None`` for each message, in order, and the number of messages that cannot
        be parsed. ``None`` stands for a message that the reader does not want, or that cannot be
        parsed.
    """
    lines: list[bytes | None] = []
    unparsable = 0
    ps_dot = b"" if ps is None else ps + b"."
    for message in messages:
        fields = message.split(b" ", 7)
        if len(fields) < 8 or fields[6] != b"-":
            fields = _fields(message)
        head, time, _, name, process, _, _, text = fields
        if head not in VALID_HEADS:
            unparsable += 1
            lines.append(None)
            continue
        if (source is not None and name != source) or (
            ps is not None and process != ps and not process.startswith(ps_dot)
        ):
            lines.append(None)
            continue
        line = b"%b %b[%b]: %b" % (time, name, process, text)
        lines.append(line if line[-1:] == b"\n" else line + b"\n")
    return lines, unparsable


def tail_matches(
    messages: Iterable[bytes], source: bytes | None, ps: bytes | None
) -> tuple[list[bool], int]:
    """
    Select the messages that :func:`tail_lines` would format, without formatting them.

    :return: true or false for each message, in order, and the number of messages that cannot be
        parsed.
    """
    matches: list[bool] = []
    unparsable = 0
    ps_dot = b"" if ps is None else ps + b"."
    for message in messages:
        fields = message.split(b" ", 6)
        if len(fields) < 7 or fields[0] not in VALID_HEADS:
            unparsable += 1
            matches.append(False)
            continue
        process = fields[4]
        matches.append(
            (source is None or fields[3] == source)
            and (ps is None or process == ps or process.startswith(ps_dot))
        )
    return matches, unparsable


def log_frames(messages: Iterable[bytes]) -> tuple[list[bytes], int]:
    """
    Format messages for ``GET …/logs`` (PROTOCOL §5): as for an HTTP drain, but each ends in
    exactly one LF, which LEN counts.

    :return: the frames, and the number of messages that were left out because they cannot be
        parsed.
    """
    frames: list[bytes] = []
    unparsable = 0
    for message in messages:
        fields = message.split(b" ", 7)
        if len(fields) < 8 or fields[6] != b"-":
            fields = _fields(message)
        head, time, _, source, process, _, _, text = fields
        if head not in VALID_HEADS:
            unparsable += 1
            continue
        text = text.rstrip(b"\n")
        body = b"%b %b host %b %b - %b\n" % (head, time, source, process, text)
        frames.append(b"%d %b" % (len(body), body))
    return frames, unparsable


def _fields(message: bytes) -> list[bytes]:
    """
    Return the seven fields and the text of a message that has structured data, or no field for it.
    All are empty if the message has too few fields.
    """
    fields = message.split(b" ", 6)
    if len(fields) < 7:
        return [b""] * 8
    return [*fields, text_of(fields[6].lstrip(b" "))]
