"""
The inner loop: what is done for every single message, on lists of ``bytes``.

Pure Python, and the reference. A compiled twin may take its place function by function; nothing
outside this module is per message on the way from a socket to a drain. Measured in ``bench/``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Mapping
from typing import TypeVar

from logplex.syslog.message import VALID_HEADS, skip_structured_data

#: Which inner loop this is, for the start-up line.
KIND = "pure Python"

Stream = TypeVar("Stream")

#: What a token leads to: its name, its channel's pending messages, and the channel's stream.
Route = tuple[bytes, list[bytes], Stream]


def sort_frames(
    frames: Iterable[bytes], routes: Mapping[bytes, Route[Stream]], touched: list[Stream]
) -> list[bytes]:
    """
    Cook each frame whose token is known, and append it to its channel's pending list.

    :param frames: whole messages; the token is the fourth of the fields that single spaces part.
    :param routes: by token id.
    :param touched: gets the stream of every channel whose pending list was empty, once.
    :return: the frames whose token is in no route.
    """
    strangers = []
    for frame in frames:
        try:
            token = frame.split(b" ", 4)[3]
            name, pending, stream = routes[token]
        except (IndexError, KeyError):
            strangers.append(frame)
            continue
        if not pending:
            touched.append(stream)
        pending.append(frame.replace(token, name, 1))
    return strangers


def cook_frames(frames: Iterable[bytes], token: bytes, name: bytes) -> list[bytes]:
    """Put the token's name in the place of the first occurrence of its id, in each frame."""
    return [frame.replace(token, name, 1) for frame in frames]


def take_http_frames(
    queue: deque[bytes], max_bytes: int, max_messages: int
) -> tuple[list[bytes], int]:
    """
    Take messages from the left of the queue and format them for an HTTP drain (PROTOCOL §8):
    ``LEN SP <PRI>1 SP TIME SP host SP SOURCE SP PROCID SP - SP MSG``.

    :param max_bytes: of all frames together; a first message that is larger goes alone.
    :return: the frames, and how many messages were taken but left out because they cannot be
        parsed.
    """
    frames: list[bytes] = []
    unparsable = 0
    room = max_bytes
    while queue and len(frames) < max_messages:
        message = queue.popleft()
        fields = message.split(b" ", 7)
        if len(fields) < 7 or fields[0] not in VALID_HEADS:
            unparsable += 1
            continue
        if fields[6] == b"-":
            text = fields[7] if len(fields) == 8 else b""
        else:
            text = skip_structured_data(message.split(b" ", 6)[6])
        body = b"%b %b host %b %b - %b" % (fields[0], fields[1], fields[3], fields[4], text)
        frame = b"%d %b" % (len(body), body)
        room -= len(frame)
        if room < 0 and frames:
            queue.appendleft(message)
            break
        frames.append(frame)
    return frames, unparsable
