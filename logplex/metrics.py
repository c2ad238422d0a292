# SPDX-License-Identifier: Apache-2.0

"""
The counts of a node, and their text for Prometheus.

Counts are plain integers, because the message path has no time for more. :func:`exposition` reads
them at each scrape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs
from attrs import define, frozen
from prometheus_client import CollectorRegistry
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder


def _total(name: str, help: str, **labels: str) -> int:
    """
    Define a count in :class:`Counters` that starts at 0.

    :param name: the name of the metric, without ``_total``. Fields with the same name and different
        labels belong to one metric.
    """
    field: int = attrs.field(default=0, metadata={"name": name, "help": help, "labels": labels})
    return field


@define
class Counters:
    """
    The totals since the start of the node. The message path adds to each total at most once per
    chunk.
    """

    received: int = _total(
        "logplex_messages_received",
        "Frames that inputs received, also those that were dropped later (message.received)",
    )
    malformed: int = _total(
        "logplex_messages_malformed",
        "Pieces of input that are not syslog (message.received-malformed)",
    )
    truncated: int = _total("logplex_messages_truncated", "Frames that were too long and were cut")
    unreadable: int = _total(
        "logplex_messages_unreadable",
        "Messages with a head that cannot be parsed; no reader or receiver gets them",
        reason="no_head",
    )
    not_permitted: int = _total(
        "logplex_messages_not_permitted",
        "Messages dropped because their sender may not write into the channel of the token",
    )
    repeated_requests: int = _total(
        "logplex_logs_requests_repeated",
        "Requests that were answered but not routed again, because their frame id was known",
    )
    sessions_refused: int = _total(
        "logplex_sessions_refused", "Sessions that were refused: their channel had too many"
    )
    auth_failures: int = _total(
        "logplex_auth_failures", "Requests whose caller could not be authenticated"
    )
    processed: int = _total(
        "logplex_messages_processed", "Messages that reached their channel (message.processed)"
    )
    unknown_token: int = _total(
        "logplex_messages_unknown_token", "Messages dropped because their token is unknown"
    )
    unknown_channel: int = _total(
        "logplex_messages_unknown_channel",
        "Messages dropped because the channel of their token is unknown",
    )
    drain_delivered: int = _total(
        "logplex_drain_messages_delivered", "Messages that receivers accepted (drain.delivered)"
    )
    drain_dropped: int = _total(
        "logplex_drain_messages_dropped",
        "Messages that drains dropped instead of delivering them (drain.dropped)",
    )
    spool_written: int = _total(
        "logplex_spool_written", "Messages that their shard has numbered and stored"
    )
    spool_dropped: int = _total(
        "logplex_spool_dropped",
        "Messages that no shard stored: too many waited, the node stopped, or the shard refused",
    )
    spool_keys_replaced: int = _total(
        "logplex_spool_keys_replaced",
        "Keys on shards that held something else than they should and were replaced",
    )
    spool_evicted: int = _total(
        "logplex_spool_evicted", "Messages removed from the spool because of its bound on bytes"
    )
    tails_refused: int = _total(
        "logplex_tails_refused", "Tails that were refused: their channel had too many"
    )
    tail_delivered: int = _total(
        "logplex_tail_lines_delivered", "Messages sent to readers of sessions"
    )
    tail_dropped: int = _total(
        "logplex_tail_lines_dropped", "Messages dropped because a reader was too slow (L11)"
    )
    tail_histories_dropped: int = _total(
        "logplex_tail_histories_dropped",
        "Histories dropped because their reader did not read, and others needed the room",
    )
    tail_unparsable: int = _total(
        "logplex_tail_unparsable", "Messages that a tail could not show, for each attempt"
    )


@frozen
class Sample:
    """
    One number on the page of metrics, with its name and labels.

    :ivar kind: the kind of the metric: a gauge (a present value) or a counter (a total).
    """

    name: str
    help: str
    value: float
    labels: dict[str, str] = attrs.Factory(dict)
    kind: type[GaugeMetricFamily | CounterMetricFamily] = GaugeMetricFamily


#: A function that returns the present numbers of one part of the node; called at every scrape.
Source = Callable[[], Iterable[Sample]]


def counter_samples(counters: Counters) -> Iterator[Sample]:
    """Yield every total of the node under its Prometheus name."""
    values = attrs.astuple(counters)
    for field, value in zip(attrs.fields(Counters), values, strict=True):
        about = field.metadata
        yield Sample(about["name"], about["help"], value, about["labels"], CounterMetricFamily)


def exposition(sources: Iterable[Source], accept: str = "") -> tuple[bytes, str]:
    """
    Return the present numbers of some sources as text for Prometheus, and the content type of the
    text.

    :param accept: the header ``Accept`` of the request. It may ask for OpenMetrics, or for a
        version of the Prometheus format.
    """
    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Families([sample for source in sources for sample in source()]))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


def connection_samples(listener: str, open_now: int, refused: int) -> Iterator[Sample]:
    """
    Yield the numbers of connections of a listener, for metrics.

    :param refused: the number of connections that were refused since the start, because there were
        too many.
    """
    labels = {"listener": listener}
    yield Sample("logplex_connections", "Connections that are open", open_now, labels)
    yield Sample(
        "logplex_connections_refused",
        "Connections refused because too many were open",
        refused,
        labels,
        kind=CounterMetricFamily,
    )


def wrong_protocol_samples(listener: str, counts: Mapping[str, int]) -> Iterator[Sample]:
    """
    Yield the numbers of connections to a listener that spoke a wrong protocol, for metrics.

    :param counts: the number of connections since the start, for each wrong protocol.
    """
    for protocol, count in counts.items():
        yield Sample(
            "logplex_connections_wrong_protocol",
            "Connections that were closed because they spoke another protocol",
            count,
            {"listener": listener, "protocol": protocol},
            kind=CounterMetricFamily,
        )


@define(eq=False, repr=False)
class _Families:
    """A collector of ``prometheus_client`` that returns the given samples."""

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
