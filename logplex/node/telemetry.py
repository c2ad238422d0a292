# SPDX-License-Identifier: Apache-2.0

"""
The metrics of the node: pages for Prometheus, and a line in a channel once a minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from attrs import define, field
from prometheus_client.core import CounterMetricFamily
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.resource import Resource

from logplex.clock import wall_s
from logplex.interfaces import Tell
from logplex.live import Live
from logplex.metrics import Counters, Sample, Source, exposition
from logplex.model.rods import STATUSES, Rods
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.syslog.notices import timestamp
from logplex.web import Refusal, Request, Site, api_bounds, plain_refusal

_log = Logger()

#: A line of counts is told to the metrics channel this often.
INTERVAL_S = 60.0
_READING = (b"GET", b"HEAD")


def channel_samples(registry: Registry) -> Iterator[Sample]:
    """
    Yield the number of messages that each channel has received since the start, for metrics. Leave
    out channels without messages.
    """
    for stream in registry.streams():
        if stream.activity.received:
            yield Sample(
                "logplex_channel_messages_received",
                "Messages that reached this channel",
                stream.activity.received,
                {"channel": stream.id},
                CounterMetricFamily,
            )


def rod_samples(rods: Live[Rods]) -> Iterator[Sample]:
    """Yield the position of every control rod, for metrics."""
    for name, position in rods.now.positions().items():
        if isinstance(position, bool):
            help = "Control rods: 1 where a switch is thrown"
            yield Sample("logplex_rod", help, float(position), {"rod": name})
        else:
            for status in STATUSES:
                labels = {"rod": name, "status": status}
                help = "Statuses of the APIs: 1 for the one that each has"
                yield Sample("logplex_api_status", help, float(status == position), labels)


def metrics_site(
    pages: Mapping[bytes, Sequence[Source]], limits: Live[Limits], clock: IReactorTime
) -> Site:
    """
    Return the HTTP site with the pages of metrics.

    The pages need no authentication: every client that reaches the listener may read them.

    :param pages: the path of each page, with the sources of its numbers. A page with a number per
        channel can be large, so it is separate from the others and need not be scraped.
    """

    def admit(request: Request) -> Refusal | None:
        if request.path not in pages:
            paths = ", ".join(sorted(path.decode() for path in pages))
            return plain_refusal(404, f"Not found. There is {paths}.\n")
        if request.method not in _READING:
            return plain_refusal(405, "Method not allowed\n", (b"Allow", b"GET, HEAD"))
        return None

    return Site(
        _Pages(pages),
        admit=admit,
        bounds=api_bounds(limits),
        clock=clock,
    )


class _Pages(Resource):
    isLeaf = True

    def __init__(self, pages: Mapping[bytes, Iterable[Source]]) -> None:
        super().__init__()
        self._pages = pages

    def render_GET(self, request: Request) -> int:
        accept = request.getHeader(b"Accept") or b""
        text, content_type = exposition(self._pages[request.path], accept.decode("latin-1"))
        request.setHeader(b"Content-Type", content_type.encode())
        request.setHeader(b"Vary", b"Accept")
        return request.answer(text)


def _totals(counters: Counters) -> dict[str, int]:
    """Return the totals of the node under the names that operators of the Erlang Logplex know."""
    return {
        "message.received": counters.received,
        "message.received-malformed": counters.malformed,
        "message.processed": counters.processed,
        "unknown_token": counters.unknown_token,
        "unknown_channel": counters.unknown_channel,
        "drain.delivered": counters.drain_delivered,
        "drain.dropped": counters.drain_dropped,
    }


@define(eq=False, repr=False)
class MetricsChannel:
    """
    A writer of metrics into a channel: once a minute a line ``source=NODE count#NAME=N …`` with the
    counts of that minute.

    :ivar channel_id: the id of the channel; if it is empty, no lines are written.
    :ivar node: the name of this node.
    """

    channel_id: str
    node: str
    counters: Counters
    tell: Tell
    clock: IReactorTime
    _told: dict[str, int] = field(factory=dict, init=False)
    _loop: LoopingCall | None = field(default=None, init=False)

    def start(self) -> None:
        """Begin to write a line of metrics once a minute."""
        if self.channel_id and self._loop is None:
            self._loop = LoopingCall(self._tell_safely)
            self._loop.clock = self.clock
            self._loop.start(INTERVAL_S, now=False)

    def stop(self) -> None:
        """Stop writing lines of metrics."""
        if self._loop is not None:
            self._loop.stop()
            self._loop = None

    def _tell_safely(self) -> None:
        try:
            self.tell(self.channel_id, self._message(), None)
        except Exception:  # an exception would end the loop for ever
            _log.failure("bug: cannot tell the metrics channel")

    def _message(self) -> bytes:
        counts = []
        for name, total in _totals(self.counters).items():
            counts.append(f"count#{name}={total - self._told.get(name, 0)}")
            self._told[name] = total
        text = f"source={self.node} {' '.join(counts)}"
        return b"<190>1 %b host heroku logplex - - %b" % (
            timestamp(wall_s(self.clock)),
            text.encode(),
        )
