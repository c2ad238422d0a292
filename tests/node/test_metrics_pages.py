"""The metrics listener: its pages, and nothing else."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters, counter_samples
from logplex.model.rods import STATUSES, Rods
from logplex.model.values import Channel
from logplex.node.metrics_pages import channel_samples, metrics_site, rod_samples
from logplex.routing.registry import Registry
from logplex.settings import Limits
from tests.doubles.wire import Wire, body_of, request, status


class RodSamplesTests(SynchronousTestCase):
    def test_positions(self) -> None:
        """A switch is 0 or 1, an API has exactly one status."""
        samples = list(rod_samples(Rods(deny_logs_ingress=True, api_status="disabled")))
        thrown = {tuple(sample.labels.values()) for sample in samples if sample.value}
        self.assertEqual(
            {("deny_logs_ingress",), ("api_status", "disabled"), ("legacy_api_status", "normal")},
            thrown,
        )
        self.assertEqual(len(Rods().positions()) - 2 + 2 * len(STATUSES), len(samples))


class MetricsSiteTests(SynchronousTestCase):
    def setUp(self) -> None:
        registry = Registry()
        registry.loaded([Channel("busy"), Channel("quiet")])
        busy = registry.stream("busy")
        assert busy is not None
        busy.received = 5
        pages = {
            b"/metrics": [partial(counter_samples, Counters(received=3))],
            b"/metrics/channels": [partial(channel_samples, registry)],
        }
        self.wire = Wire(metrics_site(pages, Limits(), Clock()))

    def test_the_totals(self) -> None:
        answer = self.wire.send(request("GET", "/metrics"))
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Content-Type: text/plain; version=", answer)
        self.assertIn(b"\nlogplex_messages_received_total 3.0\n", body_of(answer))

    def test_channels_that_received_something(self) -> None:
        body = body_of(self.wire.send(request("GET", "/metrics/channels")))
        self.assertIn(b'logplex_channel_messages_received_total{channel="busy"} 5.0\n', body)
        self.assertNotIn(b"quiet", body)

    def test_a_query_does_not_matter(self) -> None:
        self.assertEqual(status(self.wire.send(request("GET", "/metrics?x=1"))), 200)

    def test_a_head_has_no_body(self) -> None:
        with capturedLogs() as events:
            answer = self.wire.send(request("HEAD", "/metrics"))
        self.assertEqual((status(answer), body_of(answer)), (200, b""))
        self.assertEqual(events, [])

    def test_another_path_is_told_which_there_are(self) -> None:
        answer = self.wire.send(request("GET", "/"))
        self.assertEqual(status(answer), 404)
        self.assertEqual(body_of(answer), b"Not found. There is /metrics, /metrics/channels.\n")

    def test_nothing_can_be_written(self) -> None:
        answer = self.wire.send(request("POST", "/metrics", b"x"))
        self.assertEqual(status(answer), 405)
        self.assertIn(b"Allow: GET, HEAD\r\n", answer)
