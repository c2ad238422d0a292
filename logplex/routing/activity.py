# SPDX-License-Identifier: Apache-2.0

"""
The counts of the messages and requests of each channel, for the owner of the channel.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from attrs import define, field

from logplex.syslog.message import VALID_HEADS


@define(eq=False, repr=False)
class ChannelActivity:
    """
    The counts of one channel on this node, since this node has known the channel.

    There is one object for each channel. The inputs change this object, and other parts read it,
    because copies for 10,000 channels every second would cost too much.

    :ivar received: the number of messages that the channel has received.
    :ivar received_at: the time of the last message, in seconds since the epoch.
    :ivar received_bytes: the size of the received messages. It is counted only while a reader
        watches.
    :ivar sources: the number of messages by source and process, for at most :attr:`MAX_SOURCES`
        pairs. It is counted only while a reader watches.
    :ivar dropped: the number of dropped messages by reason. No reader or receiver of the channel
        gets them.
    :ivar refused: the number of refused requests, by status and reason.
    """

    #: The most pairs of source and process that are counted.
    MAX_SOURCES = 200

    received: int = 0
    received_at: float | None = None
    received_bytes: int = 0
    sources: dict[tuple[str, str], int] = field(factory=dict)
    dropped: dict[str, int] = field(factory=dict)
    refused: dict[tuple[int, str], int] = field(factory=dict)

    def drop(self, reason: str, messages: int) -> None:
        """Count messages of the channel that were dropped."""
        if messages:
            self.dropped[reason] = self.dropped.get(reason, 0) + messages

    def refuse(self, status: int, reason: str) -> None:
        """Count a request for the channel that was refused."""
        self.refused[status, reason] = self.refused.get((status, reason), 0) + 1

    def measure(self, messages: Sequence[bytes]) -> None:
        """Count the bytes and the sources of messages that the channel has received."""
        self.received_bytes += sum(map(len, messages))
        known = self.sources
        for pair, count in count_sources(messages).items():
            if pair in known or len(known) < self.MAX_SOURCES:
                known[pair] = known.get(pair, 0) + count


def count_sources(messages: Iterable[bytes]) -> Counter[tuple[str, str]]:
    """Count messages by source and process. Messages that are not RFC 5424 are left out."""
    counts: Counter[tuple[bytes, bytes]] = Counter()
    for message in messages:
        fields = message.split(b" ", 6)
        if len(fields) == 7 and fields[0] in VALID_HEADS:
            counts[fields[3], fields[4]] += 1
    decoded: Counter[tuple[str, str]] = Counter()
    for (source, process), count in counts.items():
        decoded[source.decode(errors="replace"), process.decode(errors="replace")] += count
    return decoded
