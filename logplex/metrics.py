"""
What the node counts: plain integers, because a message's way has no time for more.

An integer is exported under the Prometheus name that stands beside it; :class:`Exposition` reads
them when somebody asks.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
from attrs import define, frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def _total(name: str, help: str, **labels: str) -> int:
    """A total that starts at 0; fields with one name and different labels are one metric."""
    field: int = attrs.field(default=0, metadata={"name": name, "help": help, "labels": labels})
    return field


@define
class Counters:
    """
    Totals since the start of the node. On the message path each is added to once per chunk.
    """

    received: int = _total(
        "logplex_messages_received",
        "Frames that inputs cut from bytes, whatever became of them (message.received)",
    )
    malformed: int = _total(
        "logplex_messages_malformed",
        "Stretches of input that are not a frame (message.received-malformed)",
    )
    truncated: int = _total(
        "logplex_messages_truncated", "Frames that were too long and lost their end"
    )
    processed: int = _total(
        "logplex_messages_processed", "Messages that reached their channel (message.processed)"
    )
    unknown_token: int = _total(
        "logplex_messages_unknown_token", "Messages dropped: nobody knows their token"
    )
    unknown_channel: int = _total(
        "logplex_messages_unknown_channel",
        "Messages dropped: nobody knows the channel of their token",
    )
    drain_delivered: int = _total(
        "logplex_drain_messages_delivered", "Messages that receivers took (drain.delivered)"
    )
    drain_dropped: int = _total(
        "logplex_drain_messages_dropped",
        "Messages that drains were given and will not deliver (drain.dropped)",
    )
    spool_evicted: int = _total(
        "logplex_spool_evicted", "Messages that left the spool for its bound on bytes"
    )


@frozen
class Sample:
    """One gauge or labelled counter that is read, not counted: how many of what there are now."""

    name: str
    help: str
    value: float
    labels: dict[str, str] = attrs.Factory(dict)
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


@define(eq=False)
class Exposition:
    """
    The node's numbers as Prometheus text.

    :ivar sources: each is asked at every scrape for the samples that its part of the node has.
    """

    counters: Counters
    sources: list[Callable[[], Iterable[Sample]]] = attrs.Factory(list)

    def text(self) -> bytes:
        """Everything, in the text format of Prometheus."""
        registry = CollectorRegistry(auto_describe=False)
        registry.register(self)
        return generate_latest(registry)

    def collect(self) -> Iterator[Metric]:
        """What ``prometheus_client`` asks of a collector."""
        yield from _families(self._totals())
        for source in self.sources:
            yield from _families(source())

    def _totals(self) -> Iterator[Sample]:
        for field in attrs.fields(Counters):
            about = field.metadata
            value = getattr(self.counters, field.name)
            yield Sample(
                about["name"], about["help"], value, about["labels"], kind=CounterMetricFamily
            )


def _families(samples: Iterable[Sample]) -> Iterable[Metric]:
    """Samples of one name together, in the order in which the names came first."""
    families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
    for sample in samples:
        family = families.get(sample.name)
        if family is None:
            family = families[sample.name] = sample.kind(
                sample.name, sample.help, labels=list(sample.labels)
            )
        family.add_metric(list(sample.labels.values()), sample.value)
    return families.values()
