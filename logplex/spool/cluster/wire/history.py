"""
Which message of a channel's list has which number.

The list is plain messages, because Erlang nodes read it, push to it and cut it. So the numbers
are kept beside it: one record for all messages that were numbered together, with a fingerprint
by which they are known again. They went into the list in one step and so still stand together,
wherever they stand; a place in the list alone never tells a number.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Sequence
from heapq import merge
from itertools import accumulate
from zlib import crc32

from attrs import frozen

from logplex.spool.cluster.wire.scripts import Fingerprint, History, Numbered, Origin

#: Places that are tried for one record. More than one means that messages came twice.
_MOST_TRIES = 16


@frozen
class Passage:
    """
    Neighbours in a channel's history, oldest first.

    :ivar first: the number of the first, or ``None`` where nobody has numbered them.
    :ivar batch: of the origin; 0 where they have no number.
    :ivar before: the channel's last number before the first of these, where they have one.
    """

    first: int | None
    messages: list[bytes]
    batch: int = 0
    origin: Origin | None = None
    before: int = 0

    def entries(self) -> Iterator[tuple[int | None, bytes]]:
        """Each message with its number."""
        if self.first is None:
            return ((None, message) for message in self.messages)
        return iter(enumerate(self.messages, self.first))


def passages(history: History) -> list[Passage]:
    """
    The kept messages with their numbers, oldest first.

    Messages are given numbers where the whole batch is found, by its length in messages and bytes
    and by its newest and oldest message. The oldest batch may be cut: then its newest message must
    be the only one of its kind that is left.
    """
    messages = history.messages
    places: dict[int, list[int]] = {}
    for index, message in enumerate(messages):
        places.setdefault(crc32(message), []).append(index)
    sizes = list(accumulate(map(len, messages), initial=0))
    found: list[Passage] = []
    begin = 0
    for record in history.records:
        place = _find(record.fingerprint, places, sizes, messages, begin)
        if place is None:
            continue
        if place > begin:
            found.append(Passage(None, messages[begin:place][::-1]))
        begin = min(place + record.fingerprint.count, len(messages))
        found.append(_passage(record, messages[place:begin][::-1]))
        if begin == len(messages):
            break
    if begin < len(messages):
        found.append(Passage(None, messages[begin:][::-1]))
    return found[::-1]


def interleave(histories: Sequence[Sequence[Passage]]) -> list[Passage]:
    """
    Passages of one channel on several shards, in the order of their numbers.

    What has no number stays behind what it stood behind.
    """
    return [passage for _, passage in merge(*map(_keyed, histories), key=lambda pair: pair[0])]


def _keyed(history: Sequence[Passage]) -> Iterator[tuple[int, Passage]]:
    key = 0
    for passage in history:
        if passage.first is not None:
            key = max(key, passage.first)
        yield key, passage


def _find(
    wanted: Fingerprint,
    places: dict[int, list[int]],
    sizes: list[int],
    messages: list[bytes],
    begin: int,
) -> int | None:
    """The first place, from ``begin`` on, where the list shows this fingerprint."""
    candidates = places.get(wanted.newest, [])
    start = bisect_left(candidates, begin)
    for place in candidates[start : start + _MOST_TRIES]:
        end = place + wanted.count
        if end > len(messages):
            return place if len(candidates) == start + 1 else None
        if sizes[end] - sizes[place] == wanted.size_bytes and (
            crc32(messages[end - 1]) == wanted.oldest
        ):
            return place
    return None


def _passage(record: Numbered, messages: list[bytes]) -> Passage:
    first = record.last - record.fingerprint.count + 1
    cut = record.fingerprint.count - len(messages)
    before = first + cut - 1 if cut else record.before
    return Passage(first + cut, messages, record.batch, record.origin, before)
