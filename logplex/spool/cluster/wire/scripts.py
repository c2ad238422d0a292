# SPDX-License-Identifier: Apache-2.0

"""
The Lua scripts of a shard: their arguments, answers and publications. The functions here turn bytes
into values, without I/O.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files

import msgpack
from attrs import field, frozen

# It keeps only its buffer between two calls. ``msgpack.packb`` makes a new packer, which takes
# longer than to pack a few messages: 0.65 µs instead of 0.29.
_pack = msgpack.Packer(use_bin_type=False).pack

#: Flags of a channel in a call of :data:`APPEND`.
KEEP, FORGET, RAISE = 1, 2, 4


@frozen
class Script:
    """A Lua script for Redis, and the digest by which Redis remembers the script."""

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
    One run of a node, from its start to its end, as shards remember it.

    :ivar node: the node's name, without line breaks.
    :ivar start: the time at which the node started, as text of fixed width; each start of the node
        has a greater text than earlier starts.
    """

    node: bytes
    start: bytes


@frozen
class Piece:
    """
    The messages of one channel in one batch.

    :ivar lost: the number of messages that were dropped before the first message of the piece.
    :ivar payload: the messages as a msgpack array, which the shard keeps and publishes.
    """

    channel_id: str
    flags: int
    count: int
    lost: int
    payload: bytes = field(repr=False)

    @classmethod
    def pack(cls, channel_id: str, flags: int, messages: Sequence[bytes], lost: int = 0) -> Piece:
        """
        Return a piece with these messages of a channel.

        :param messages: oldest first; there may be none if the channel is only forgotten.
        """
        return cls(channel_id, flags, len(messages), lost, _pack(messages))

    def messages(self) -> list[bytes]:
        """Return the messages of the piece, unpacked."""
        return unpack(self.payload)

    @property
    def head(self) -> tuple[str, int, str, int]:
        """Return the arguments of the script :data:`APPEND` for this piece, except the payload."""
        return self.channel_id, self.flags, str(self.count), self.lost


@frozen
class Batch:
    """
    The messages that one call writes to a shard. A repeated call writes the same batch.

    :ivar number: the number of the batch; it is greater than the numbers of all earlier batches of
        the node.
    :ivar raised: message numbers of channels with the flag :data:`RAISE` continue above this
        number.
    """

    number: int
    pieces: list[Piece] = field(repr=False)
    messages: int
    size_bytes: int
    raised: int = 0


@frozen
class Published:
    """
    New messages of a channel that a shard has published.

    :ivar before: the last number of the channel before these messages; 0 if there was none. A
        follower that knows another last number has missed messages.
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
    """Return the arguments of the script :data:`APPEND` that write a batch."""
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
    Return the content of an answer to the script :data:`APPEND`: the indexes of the channels that
    any node follows, and the keys that had another type and were replaced.
    """
    followed, replaced = msgpack.unpackb(answer, raw=True)
    return [place - 1 for place in followed], [_text(key) for key in replaced]


def parse_published(data: bytes) -> Published:
    """
    Return the publication of the script :data:`APPEND` that these bytes contain.

    :raises ValueError: the bytes are malformed.
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
    Return the messages in the payload of a piece.

    :raises ValueError: the bytes are malformed.
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
