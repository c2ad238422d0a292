"""
The metrics listener: the node's numbers for Prometheus, on pages that can be scraped apart.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from prometheus_client import CONTENT_TYPE_LATEST
from prometheus_client.core import CounterMetricFamily
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import Resource

from logplex.metrics import Sample, Source, exposition
from logplex.model.rods import STATUSES, Rods
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.web import Refusal, Request, Site, api_bounds, plain_refusal

_READING = (b"GET", b"HEAD")


def channel_samples(registry: Registry) -> Iterator[Sample]:
    """Yield the messages received by each channel since the start, if there were any."""
    for stream in registry.streams():
        if stream.received:
            yield Sample(
                "logplex_channel_messages_received",
                "Messages that reached this channel",
                stream.received,
                {"channel": stream.id},
                CounterMetricFamily,
            )


def rod_samples(rods: Rods) -> Iterator[Sample]:
    """Yield the position of every control rod."""
    for name, position in rods.positions().items():
        if isinstance(position, bool):
            help = "Control rods: 1 where a switch is thrown"
            yield Sample("logplex_rod", help, float(position), {"rod": name})
        else:
            for status in STATUSES:
                labels = {"rod": name, "status": status}
                help = "Statuses of the APIs: 1 for the one that each has"
                yield Sample("logplex_api_status", help, float(status == position), labels)


def metrics_site(
    pages: Mapping[bytes, Sequence[Source]], limits: Limits, clock: IReactorTime
) -> Site:
    """
    Serve each page without authentication: every client that reaches the listener may read it.

    :param pages: path -> the sources on that page. A page with a sample per channel can be large,
        so it is separate from the others and need not be scraped.
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
        request.setHeader(b"Content-Type", CONTENT_TYPE_LATEST.encode())
        return request.answer(exposition(self._pages[request.path]))
