"""
The Lua scripts of a shard, their arguments, answers and publications. Bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

import msgpack
from attrs import field, frozen

# It keeps nothing between two calls but its buffer. ``msgpack.packb`` makes both anew, which takes
# longer than to pack a few messages: 0.65 µs instead of 0.29.
_pack = msgpack.Packer(use_bin_type=False).pack

#: Flags of a channel in a call of :data:`APPEND`.
KEEP, FORGET, RAISE = 1, 2, 4


@frozen
class Script:
    """A Lua script and the name by which Redis remembers it."""

    source: bytes = field(repr=False)
    sha: str

    @classmethod
    def load(cls, name: str) -> Script:
        source = files("logplex.spool.cluster.wire").joinpath(name).read_bytes()
        return cls(source, sha1(source, usedforsecurity=False).hexdigest())


OPEN = Script.load("open.lua")
APPEND = Script.load("append.lua")


@frozen
class Origin:
    """
    One life of one node, as shards remember it.

    :ivar node: the node's name, without line breaks.
    :ivar start: fixed width, and greater than those of the node's earlier lives.
    """

    node: bytes
    start: bytes


@frozen
class Piece:
    """
    The messages of one channel in a batch.

    :ivar lost: how many messages were dropped before the first of them.
    :ivar payload: the messages as a msgpack array, as a shard keeps and publishes them.
    """

    channel_id: str
    flags: int
    count: int
    lost: int
    payload: bytes = field(repr=False)

    @classmethod
    def pack(cls, channel_id: str, flags: int, messages: Sequence[bytes], lost: int = 0) -> Piece:
        """
        Return the piece of these messages.

        :param messages: oldest first; there may be none if the channel is only forgotten.
        """
        return cls(channel_id, flags, len(messages), lost, _pack(messages))

    def messages(self) -> list[bytes]:
        """Return what was packed."""
        return unpack(self.payload)

    @property
    def head(self) -> tuple[str, int, str, int]:
        """What a call of :data:`APPEND` says of it before its payload."""
        return self.channel_id, self.flags, str(self.count), self.lost


@frozen
class Batch:
    """
    One call of a shard. It never changes, however often it must be repeated.

    :ivar number: above that of every earlier batch of the node.
    :ivar raised: the number that sequences flagged :data:`RAISE` begin above.
    """

    number: int
    pieces: list[Piece] = field(repr=False)
    messages: int
    size_bytes: int
    raised: int = 0


@frozen
class Published:
    """
    What a shard tells those who listen to a channel.

    :ivar before: the channel's last number before the first of these; 0 where it had none. Numbers
        may jump, so this is what shows whether something is missing.
    """

    first: int
    before: int
    batch: int
    origin: Origin
    messages: list[bytes]

    @property
    def last(self) -> int:
        return self.first + len(self.messages) - 1


def append_arguments(
    origin: Origin, batch: Batch, prefix: str, kept: int, retention_s: float
) -> list[bytes | str | int]:
    """The arguments of :data:`APPEND`; see there."""
    # Redis knows whole ones, and none at all would mean that nothing is kept.
    seconds = max(1, int(retention_s))
    arguments: list[bytes | str | int] = [
        origin.node, origin.start, batch.number, prefix, kept, seconds, batch.raised,
    ]  # fmt: skip
    arguments.append(_pack([piece.head for piece in batch.pieces]))
    arguments += [piece.payload for piece in batch.pieces]
    return arguments


def parse_appended(answer: bytes) -> tuple[list[int], list[str]]:
    """
    Return the places, from 0, of the channels that are followed somewhere, and the keys that held
    something else and were replaced.
    """
    followed, replaced = msgpack.unpackb(answer, raw=True)
    return [place - 1 for place in followed], [_text(key) for key in replaced]


def parse_published(data: bytes) -> Published:
    """
    Return what :data:`APPEND` published.

    :raises ValueError: it is something else.
    """
    head, _, payload = data.partition(b"\n")
    last, before, batch, start, node = head.split(b" ", 4)
    messages = unpack(payload)
    if not messages:
        raise ValueError("a publication without messages")
    first = int(last) - len(messages) + 1
    return Published(first, int(before), int(batch), Origin(node, start), messages)


def unpack(payload: bytes) -> list[bytes]:
    """
    Return the messages of a piece.

    :raises ValueError: it is something else.
    """
    try:
        messages = msgpack.unpackb(payload, raw=True)
    except TypeError as error:
        raise ValueError("a map with such a key") from error
    if not isinstance(messages, list) or not all(isinstance(each, bytes) for each in messages):
        raise ValueError("not the messages of a piece")
    return messages


def _text(key: bytes) -> str:
    return key.decode("utf-8", "replace")
