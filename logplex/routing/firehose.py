# SPDX-License-Identifier: Apache-2.0

"""
The firehose: some channels get copies of the messages of other channels. Each message is copied to
one of these channels at random (PROTOCOL §11).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from random import Random

from attrs import define, field
from prometheus_client.core import CounterMetricFamily

from logplex.live import Live
from logplex.metrics import Sample
from logplex.model.rods import Rods
from logplex.routing.registry import Registry, Stream
from logplex.settings import FirehoseSettings


@define(eq=False, repr=False)
class Firehose:
    """
    The firehose channels, and the choice of the channel for each copy.

    :ivar random: chooses one of several firehose channels for each copy.
    """

    settings: FirehoseSettings
    registry: Registry
    rods: Live[Rods]
    random: Random
    _names: frozenset[str] = field(init=False)
    _posted: dict[str, int] = field(factory=dict, init=False)

    def __attrs_post_init__(self) -> None:
        self._names = frozenset(self.settings.filter_tokens)

    @property
    def runs(self) -> bool:
        """True if the node has firehose channels; most nodes have none."""
        return bool(self.settings.channel_ids) and not self.rods.now.disable_firehose

    def copies(
        self, stream: Stream, messages: Sequence[bytes], name: bytes | None
    ) -> list[tuple[Stream, list[bytes]]]:
        """
        Return the firehose channels that get copies of some of these messages, each with its
        messages in order.

        :param stream: the channel of the messages. A firehose channel gets no copy of its own
            messages.
        :param messages: cooked messages.
        :param name: the name of the token that all messages have. ``None``: the name is the fourth
            field of each message.
        """
        if not (self.runs and self._may_want(stream)):
            return []
        targets = [
            target
            for channel_id in self.settings.channel_ids
            if (target := self.registry.stream(channel_id)) and target is not stream
        ]
        chosen: dict[str, tuple[Stream, list[bytes]]] = {}
        for message in self._wanted(messages, name) if targets else ():
            target = self.random.choice(targets)
            chosen.setdefault(target.id, (target, []))[1].append(message)
        for target, copied in chosen.values():
            self._posted[target.id] = self._posted.get(target.id, 0) + len(copied)
        return list(chosen.values())

    def samples(self) -> Iterator[Sample]:
        """
        Yield the number of messages that were copied to each firehose channel
        (``firehose.post.<channel>``).
        """
        for channel_id, count in self._posted.items():
            yield Sample(
                "logplex_firehose_messages",
                "Messages copied into this firehose channel",
                count,
                {"channel": channel_id},
                CounterMetricFamily,
            )

    def _may_want(self, stream: Stream) -> bool:
        """
        Return true if a token of the channel has one of the names that the filter lets through.
        This quick check comes before the messages are read.
        """
        return any(token.name in self._names for token in stream.tokens.values())

    def _wanted(self, messages: Sequence[bytes], name: bytes | None) -> Iterator[bytes]:
        names = {each.encode() for each in self._names}
        for message in messages:
            source = name or message.split(b" ", 4)[3]
            if source in names:
                yield message
