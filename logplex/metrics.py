"""
The counts of a node. They are plain integers, because the message path has no time for more.

Each integer has a Prometheus name beside it; :func:`exposition` reads the integers at a scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

import attrs
from attrs import define, frozen
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric


def _total(name: str, help: str, **labels: str) -> int:
    """Define a total that starts at 0. Fields with equal names but other labels form one metric."""
    field: int = attrs.field(default=0, metadata={"name": name, "help": help, "labels": labels})
    return field


@define
class Counters:
    """
    Totals since the start of the node. The message path adds to each once per chunk.
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
    unreadable: int = _total(
        "logplex_messages_unreadable",
        "Messages that no reader or receiver can be shown, counted when they come",
        reason="no_head",
    )
    not_permitted: int = _total(
        "logplex_messages_not_permitted",
        "Messages dropped: their sender may not write into the channel of their token",
    )
    repeated_requests: int = _total(
        "logplex_logs_requests_repeated",
        "Requests with messages that were answered, but not routed again: their frame id was known",
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
    spool_written: int = _total(
        "logplex_spool_written", "Messages that their shard has numbered and taken"
    )
    spool_dropped: int = _total(
        "logplex_spool_dropped",
        "Messages that no shard took: too many waited, or the node ended, or the shard refused",
    )
    spool_refused: int = _total(
        "logplex_spool_refused",
        "Messages that were told to followers but not kept: something else stands in their place",
    )
    spool_evicted: int = _total(
        "logplex_spool_evicted", "Messages that left the spool for its bound on bytes"
    )
    tail_delivered: int = _total(
        "logplex_tail_lines_delivered", "Messages written to readers of sessions"
    )
    tail_dropped: int = _total(
        "logplex_tail_lines_dropped", "Messages that readers of tails were too slow for (L11)"
    )
    tail_unparsable: int = _total(
        "logplex_tail_unparsable", "Messages that no reader can be shown, each time it was tried"
    )


@frozen
class Sample:
    """One number with its labels: a present state, or a total."""

    name: str
    help: str
    value: float
    labels: dict[str, str] = attrs.Factory(dict)
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


#: The function of a part of the node that returns its numbers; called at every scrape.
Source = Callable[[], Iterable[Sample]]


def counter_samples(counters: Counters) -> Iterator[Sample]:
    """Yield every total under its Prometheus name."""
    for field in attrs.fields(Counters):
        about = field.metadata
        value = getattr(counters, field.name)
        yield Sample(about["name"], about["help"], value, about["labels"], CounterMetricFamily)


def exposition(sources: Iterable[Source]) -> bytes:
    """Return the present numbers of these sources in the text format of Prometheus."""
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([sample for source in sources for sample in source()]))
    return generate_latest(registry)


def connection_samples(listener: str, open_now: int, refused: int) -> Iterator[Sample]:
    """
    Yield the numbers of a listener whose connections are bounded.

    :param refused: connections above the bound since the start.
    """
    labels = {"listener": listener}
    yield Sample("logplex_connections", "Connections that are open", open_now, labels)
    yield Sample(
        "logplex_connections_refused",
        "Connections that were one too many",
        refused,
        labels,
        kind=CounterMetricFamily,
    )


@define(eq=False, repr=False)
class _Families:
    """A collector in the sense of ``prometheus_client``."""

    samples: list[Sample]

    def collect(self) -> Iterable[Metric]:
        """Return the samples grouped by name, in the order in which the names first appear."""
        families: dict[str, GaugeMetricFamily | CounterMetricFamily] = {}
        for sample in self.samples:
            family = families.get(sample.name)
            if family is None:
                family = families[sample.name] = sample.kind(
                    sample.name, sample.help, labels=list(sample.labels)
                )
            family.add_metric(list(sample.labels.values()), sample.value)
        return families.values()
