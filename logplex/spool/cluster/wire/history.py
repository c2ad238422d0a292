# SPDX-License-Identifier: Apache-2.0

"""
The commands that read a channel's history from a shard, and the entries in their answer.

An entry has messages of one channel that one node wrote together. It also has the last number
before its messages, so that a reader sees a gap even if numbers jump.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from heapq import merge
from typing import Any

from attrs import frozen

from logplex.spool.cluster.wire.scripts import Origin, unpack

#: The greatest number that a node gives; see ``append.lua``.
_HIGHEST = 9_000_000_000_000_000


@frozen
class StreamEntry:
    """
    Messages of one channel with consecutive numbers, oldest first.

    :ivar first: the number of the first message.
    :ivar before: the last number of the channel before the entry.
    :ivar batch: the number of the batch with these messages, as the node that wrote the batch
        counts.
    :ivar gone: the number of messages between the previous entry and this entry that are not kept.
    """

    first: int
    messages: list[bytes]
    before: int
    batch: int = 0
    origin: Origin | None = None
    gone: int = 0

    @property
    def last(self) -> int:
        return self.first + len(self.messages) - 1

    def numbered(self) -> Iterator[tuple[int, bytes]]:
        """Return each message of the entry with its number."""
        return enumerate(self.messages, self.first)


@frozen
class History:
    """
    The history of a channel on a shard at one moment.

    :ivar last: the newest number of the channel; 0 if there is none.
    :ivar own_batch: the number of the last batch that the shard has taken from this node.
    :ivar entries: the entries, oldest first.
    """

    last: int
    own_batch: int
    entries: list[StreamEntry]

    @property
    def count(self) -> int:
        """The number of messages in the history."""
        return sum(len(entry.messages) for entry in self.entries)


def reading(channel_id: str, origin: Origin, after: int | None) -> list[list[bytes | str]]:
    """
    Return the commands that read the history of a channel in one atomic step.

    :param origin: the origin of this node.
    :param after: read the entries after this number; all entries if 0, no entries if ``None``.
    """
    start = b"+" if after is None else b"(%d" % after if after else b"-"
    return [
        ["MULTI"],
        ["GET", f"seq:{channel_id}"],
        ["HGET", b"logplex:batches:" + origin.node, origin.start],
        ["XRANGE", f"log:{channel_id}", start, "+"],
        ["EXEC"],
    ]


def parse_history(answer: Sequence[Any]) -> History:
    """
    Return the history in Redis's answer to ``EXEC``. A key of another type counts as absent,
    because the next write replaces such a key.
    """
    state, own_batch, found = answer
    last = state.partition(b" ")[0] if isinstance(state, bytes) else b""
    entries = []
    for each in found if isinstance(found, list) else ():
        try:
            entries.append(_entry(*each))
        except (KeyError, TypeError, ValueError):
            continue
    return History(_integer(last), _integer(own_batch), entries)


def interleave(histories: Sequence[Sequence[StreamEntry]]) -> list[StreamEntry]:
    """Return the entries of one channel from several shards, in the order of their numbers."""
    return list(merge(*histories, key=lambda entry: entry.first))


def _entry(entry_id: bytes, fields: list[bytes]) -> StreamEntry:
    values = dict(zip(fields[::2], fields[1::2], strict=True))
    messages = unpack(values[b"m"])
    if not messages:
        raise ValueError("an entry without messages")
    gone = int(values.get(b"g", 0))
    batch, start, node = values[b"o"].split(b" ", 2)
    first = int(entry_id.partition(b"-")[0]) - len(messages) + 1
    before = int(values[b"b"]) + gone
    return StreamEntry(first, messages, before, int(batch), Origin(node, start), gone)


def _integer(text: object) -> int:
    """Return the integer in a text that a node wrote; 0 if the text is not an integer."""
    if not isinstance(text, bytes) or not text.isdigit() or len(text) > len(str(_HIGHEST)):
        return 0
    number = int(text)
    return number if number <= _HIGHEST else 0
