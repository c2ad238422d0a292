"""
What is said to a shard and what it says: its Lua scripts, their arguments, answers and
publications. Bytes in, values out.
"""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha1
from importlib.resources import files
from zlib import crc32

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
RECENT = Script.load("recent.lua")


@frozen
class Origin:
    """
    One life of one node, as shards remember it.

    :ivar node: the node's name, without line breaks.
    :ivar start: fixed width, and greater than those of the node's earlier lives.
    """

    node: bytes
    start: bytes


def fingerprint(messages: Sequence[bytes], size_bytes: int) -> bytes:
    """
    What is remembered of messages that are numbered together, to know them again.

    :param messages: at least one, oldest first.
    :param size_bytes: of all of them.
    """
    mark = (len(messages), size_bytes, crc32(messages[-1]), crc32(messages[0]))
    return b"%d:%d:%d:%d" % mark


@frozen
class Fingerprint:
    """A :func:`fingerprint` that was read; CRCs of the newest and the oldest message."""

    count: int
    size_bytes: int
    newest: int
    oldest: int

    @classmethod
    def parse(cls, text: bytes) -> Fingerprint:
        """
        :raises ValueError: it is none.
        """
        count, size_bytes, newest, oldest = map(int, text.split(b":"))
        if count < 1:
            raise ValueError("a fingerprint of no messages")
        return cls(count, size_bytes, newest, oldest)


@frozen
class Piece:
    """
    The messages of one channel in a batch.

    :ivar payload: the argument of a call that carries them.
    """

    channel_id: str
    flags: int
    count: int
    payload: bytes = field(repr=False)

    @classmethod
    def pack(
        cls,
        channel_id: str,
        flags: int,
        messages: Sequence[bytes],
        size_bytes: int,
        kept: int,
        lost: int = 0,
    ) -> Piece:
        """
        :param messages: oldest first; may be none where the channel is only forgotten.
        :param size_bytes: of all of them.
        :param kept: how many messages a shard keeps of a channel.
        :param lost: how many were dropped before the first of them.
        """
        mark = b""
        if messages and flags & KEEP:
            if len(messages) > kept:
                messages_kept = messages[-kept:]
                mark = fingerprint(messages_kept, sum(map(len, messages_kept)))
            else:
                mark = fingerprint(messages, size_bytes)
        payload = _pack((channel_id, flags, mark, messages, lost))
        return cls(channel_id, flags, len(messages), payload)

    def messages(self) -> list[bytes]:
        """What was packed."""
        return _unpack(self.payload)


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


@frozen
class Numbered:
    """
    A record of numbers that were given together.

    :ivar last: the number of the newest of them.
    :ivar before: see :class:`Published`.
    """

    last: int
    before: int
    fingerprint: Fingerprint
    batch: int
    origin: Origin


@frozen
class History:
    """
    What a shard has of a channel.

    :ivar last: the channel's newest number, 0 where there is none.
    :ivar own_batch: the number of the last batch that the shard took from the asking node.
    :ivar messages: newest first.
    :ivar records: newest first.
    """

    last: int
    own_batch: int
    messages: list[bytes]
    records: list[Numbered]


def append_arguments(
    origin: Origin, batch: Batch, prefix: str, kept: int, retention_s: float
) -> list[bytes | str | int]:
    """The arguments of :data:`APPEND`; see there."""
    # Redis knows whole ones, and none at all would mean that nothing is kept.
    seconds = max(1, int(retention_s))
    arguments: list[bytes | str | int] = [
        origin.node, origin.start, batch.number, prefix, kept, seconds, batch.raised,
    ]  # fmt: skip
    arguments += [piece.payload for piece in batch.pieces]
    return arguments


def parse_appended(answer: bytes) -> tuple[list[int], list[int]]:
    """The places, from 0, of the channels that have listeners, and of those that were refused."""
    listened, refused = msgpack.unpackb(answer)
    return [place - 1 for place in listened], [place - 1 for place in refused]


def parse_published(data: bytes) -> Published:
    """
    What :data:`APPEND` published.

    :raises ValueError: it is something else.
    """
    head, _, payload = data.partition(b"\n")
    first, before, batch, start, node = head.split(b" ", 4)
    messages = _unpack(payload)
    if not messages:
        raise ValueError("a publication without messages")
    return Published(int(first), int(before), int(batch), Origin(node, start), messages)


def parse_history(answer: bytes) -> History:
    """
    The answer of :data:`RECENT`. What others have put into our keys counts as absent.

    :raises ValueError: the answer is something else altogether.
    """
    last, own_batch, messages, records = msgpack.unpackb(answer, raw=True)
    numbered = []
    for record in records:
        try:
            numbered.append(_parse_record(record))
        except ValueError:
            continue
    return History(_integer(last), _integer(own_batch), list(messages), numbered)


def _parse_record(record: bytes) -> Numbered:
    last, before, mark, batch, start, node = record.split(b" ", 5)
    origin = Origin(node, start)
    return Numbered(int(last), int(before), Fingerprint.parse(mark), int(batch), origin)


def _integer(text: bytes) -> int:
    try:
        return int(text)
    except ValueError:
        return 0


def _unpack(payload: bytes) -> list[bytes]:
    """The messages of a piece."""
    piece = msgpack.unpackb(payload, raw=True)
    if not isinstance(piece, list) or len(piece) != 5 or not isinstance(piece[3], list):
        raise ValueError("no piece of a batch")
    messages: list[bytes] = piece[3]
    return messages
