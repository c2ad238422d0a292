# SPDX-License-Identifier: Apache-2.0

"""The pages of the metrics listener, and the counts in the metrics channel."""

from __future__ import annotations

from functools import partial

from twisted.internet.task import Clock
from twisted.logger import capturedLogs
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.metrics import Counters, counter_samples
from logplex.model.rods import STATUSES, Rods
from logplex.model.values import Channel
from logplex.node.telemetry import MetricsChannel, channel_samples, metrics_site, rod_samples
from logplex.routing.registry import Registry
from logplex.settings import Limits
from tests.doubles.wire import Wire, body_of, request, status


class RodSamplesTests(SynchronousTestCase):
    def test_positions(self) -> None:
        """A switch is 0 or 1, an API has exactly one status."""
        samples = list(rod_samples(Live(Rods(deny_logs_ingress=True, api_status="disabled"))))
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
        busy.activity.received = 5
        pages = {
            b"/metrics": [partial(counter_samples, Counters(received=3))],
            b"/metrics/channels": [partial(channel_samples, registry)],
        }
        self.wire = Wire(metrics_site(pages, Live(Limits()), Clock()))

    def test_the_totals(self) -> None:
        answer = self.wire.send(request("GET", "/metrics"))
        self.assertEqual(status(answer), 200)
        self.assertIn(b"Content-Type: text/plain; version=", answer)
        self.assertIn(b"\nlogplex_messages_received_total 3.0\n", body_of(answer))

    def test_the_format_that_is_asked_for(self) -> None:
        """Prometheus asks for OpenMetrics first, and older ones for text of a version."""
        cases = {
            "": b"text/plain; version=",
            "*/*": b"text/plain; version=",
            "text/plain;version=0.0.4": b"text/plain; version=0.0.4; charset=utf-8",
            "application/openmetrics-text;version=1.0.0,text/plain;version=0.0.4;q=0.5": (
                b"application/openmetrics-text; version=1.0.0; charset=utf-8"
            ),
        }
        for accept, content_type in cases.items():
            answer = self.wire.send(request("GET", "/metrics", Accept=accept))
            self.assertIn(b"Content-Type: " + content_type, answer)
            self.assertIn(b"\nlogplex_messages_received_total 3.0\n", body_of(answer))
            is_open = content_type.startswith(b"application")
            self.assertEqual(body_of(answer).endswith(b"# EOF\n"), is_open)

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


class MetricsChannelTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.counters = Counters()
        self.told: list[tuple[str, bytes]] = []

    def channel(self, channel_id: str) -> MetricsChannel:
        def tell(channel_id: str, message: bytes, except_for: object | None) -> None:
            self.told.append((channel_id, message))

        made = MetricsChannel(channel_id, "node-1", self.counters, tell, self.clock)
        made.start()
        return made

    def test_each_minute_tells_what_was_counted_in_it(self) -> None:
        self.channel("metrics")
        self.counters.received = 5
        self.counters.drain_dropped = 2
        self.clock.advance(60)
        self.counters.received = 12
        self.clock.advance(60)
        self.assertEqual(
            self.told,
            [
                (
                    "metrics",
                    b"<190>1 1970-01-01T00:01:00.000000+00:00 host heroku logplex - - "
                    b"source=node-1 count#message.received=5 count#message.received-malformed=0 "
                    b"count#message.processed=0 count#unknown_token=0 count#unknown_channel=0 "
                    b"count#drain.delivered=0 count#drain.dropped=2",
                ),
                (
                    "metrics",
                    b"<190>1 1970-01-01T00:02:00.000000+00:00 host heroku logplex - - "
                    b"source=node-1 count#message.received=7 count#message.received-malformed=0 "
                    b"count#message.processed=0 count#unknown_token=0 count#unknown_channel=0 "
                    b"count#drain.delivered=0 count#drain.dropped=0",
                ),
            ],
        )

    def test_without_a_channel_nothing_is_scheduled(self) -> None:
        self.channel("").stop()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_after_the_stop_nothing_is_told(self) -> None:
        self.channel("metrics").stop()
        self.clock.advance(120)
        self.assertEqual(self.told, [])
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_bug_costs_one_line(self) -> None:
        def tell(channel_id: str, message: bytes, except_for: object | None) -> None:
            self.told.append((channel_id, message))
            if len(self.told) == 1:
                raise ZeroDivisionError

        MetricsChannel("metrics", "n", self.counters, tell, self.clock).start()
        self.clock.pump([60, 60])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(len(self.told), 2)
