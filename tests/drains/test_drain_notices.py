# SPDX-License-Identifier: Apache-2.0

"""The notices to a channel about its drains, and the times between them."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.drains.drain import GATHER_S, L31_INTERVAL_S, ChannelNotices
from logplex.live import Live
from logplex.model.destination import parse_destination
from logplex.settings import Limits
from tests.doubles.interfaces import ListOutlet


class ChannelNoticesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.told: list[tuple[str, bytes, object]] = []
        self.outlet = ListOutlet()
        self.notices = ChannelNotices(
            lambda *told: self.told.append(told),
            Live(Limits(notice_interval_s=60.0)),
            self.clock,
            "app-1",
            "d.0815",
            self.outlet,
        )

    def texts(self) -> list[bytes]:
        return [message.split(b" - - ", 1)[1] for _, message, _ in self.told]

    def test_loss(self) -> None:
        """A loss is told after a moment, with what was lost within it, and not to the drain."""
        self.notices.lost(3)
        self.clock.advance(0.5)
        self.notices.lost(4)
        self.assertEqual(self.told, [])
        self.clock.advance(0.5)
        self.assertEqual(
            self.texts(),
            [
                b"Error L10 (output buffer overflow): drain 'd.0815' dropped 7 messages "
                b"since 1970-01-01T00:00:00.000000+00:00."
            ],
        )
        self.assertEqual((self.told[0][0], self.told[0][2]), ("app-1", self.outlet))

    def test_once_a_minute(self) -> None:
        """Losses after a notice are told a minute after it, in one."""
        self.notices.lost(1)
        self.clock.advance(GATHER_S)
        self.notices.lost(2)
        self.clock.advance(59)
        self.notices.lost(3)
        self.assertEqual(len(self.told), 1)
        self.clock.advance(1)
        self.assertEqual(len(self.told), 2)
        self.assertIn(b"dropped 5 messages since 1970-01-01T00:00:01.0", self.texts()[1])
        self.clock.advance(600)
        self.assertEqual(len(self.told), 2)

    def test_flush(self) -> None:
        """The end of a drain does not wait."""
        self.notices.lost(1)
        self.notices.flush()
        self.assertEqual(len(self.told), 1)
        self.notices.flush()
        self.assertEqual(len(self.told), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_certificate(self) -> None:
        """A rejected certificate is told once a minute, without the URL's secrets."""
        destination = parse_destination("https://us:pa@logs.example/path?query")
        self.notices.certificate_rejected("certificate has expired", destination)
        self.notices.certificate_rejected("certificate has expired", destination)
        self.clock.advance(59)
        self.notices.certificate_rejected("certificate has expired", destination)
        self.assertEqual(
            self.texts(),
            [
                b'Error L14 (certificate validation): error="certificate has expired" '
                b'uri="https://logs.example:443"'
            ],
        )
        self.clock.advance(1)
        self.notices.certificate_rejected("certificate has expired", destination)
        self.assertEqual(len(self.told), 2)

    def failures(self) -> list[bytes]:
        return [text for text in self.texts() if b"L31" in text]

    def test_failure(self) -> None:
        """The channel is told why a drain does not deliver, and since when."""
        self.notices.failed("the receiver answered 401", 0.0)
        self.assertEqual(
            self.failures(),
            [
                b"Error L31 (drain delivery error): drain 'd.0815' the receiver answered 401 "
                b"(since 1970-01-01T00:00:00.000000+00:00)."
            ],
        )

    def test_failure_of_the_same_kind(self) -> None:
        """A reason that stays the same is told once."""
        for _ in range(10_000):
            self.notices.failed("the receiver answered 401", 0.0)
            self.clock.advance(60)
        self.assertEqual(len(self.failures()), 1)

    def test_failure_again(self) -> None:
        """A failure after a success is another one."""
        self.notices.failed("the receiver answered 401", 0.0)
        self.clock.advance(L31_INTERVAL_S)
        self.notices.failed("the receiver answered 401", L31_INTERVAL_S)
        self.assertEqual(len(self.failures()), 2)

    def test_another_failure(self) -> None:
        """Another reason is told, ten minutes after the last one at the earliest."""
        self.notices.failed("the receiver answered 401", 0.0)
        for _ in range(int(L31_INTERVAL_S) - 1):
            self.clock.advance(1)
            self.notices.failed("the receiver answered 503", 0.0)
        self.assertEqual(len(self.failures()), 1)
        self.clock.advance(1)
        self.notices.failed("the receiver answered 503", 0.0)
        self.assertEqual(len(self.failures()), 2)
        self.assertIn(b"answered 503", self.failures()[1])

    def test_failure_in_odd_words(self) -> None:
        self.notices.failed("a\r\nb\x1b", 0.0)
        self.assertIn(b"drain 'd.0815' a b  (since", self.failures()[0])
