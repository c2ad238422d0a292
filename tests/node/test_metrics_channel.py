"""The metrics channel: counts of the last minute, under the names that operators know."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.metrics import Counters
from logplex.node.metrics_channel import MetricsChannel


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
