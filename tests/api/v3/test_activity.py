# SPDX-License-Identifier: Apache-2.0

"""The activity of a channel, as API v3 shows it."""

from __future__ import annotations

from typing import Any

from logplex.api.v3.activity import FORGET_AFTER_S
from logplex.interfaces import DrainStatus
from logplex.model.values import Drain
from logplex.routing.activity import ChannelActivity
from tests.doubles.api import V3Case, basic

PATH = "/v3/channels/app/activity"


class ActivityTests(V3Case):
    """``GET /v3/channels/:id/activity``"""

    def counts(self) -> ChannelActivity:
        activity = self.activity("app")
        assert activity is not None
        return activity

    def shown(self) -> Any:
        answer = self.ask("GET", PATH)
        self.assertEqual(200, answer.code)
        return answer.json

    def test_everything(self) -> None:
        counts = self.counts()
        counts.received, counts.received_at = 30, 999.5
        counts.drop("unreadable", 3)
        counts.refuse(413, "too large")
        counts.refuse(401, "no such token")
        counts.refuse(413, "too large")
        counts.sources.update({("app", "web.1"): 5, ("heroku", "router"): 25})
        self.drains.statuses[1] = DrainStatus("waiting", 30, 10, 2, 18, last_error="answered 503")
        self.assertEqual(
            {
                "at": 1_000.0,
                "node": "node-1",
                "uptime_s": 100.0,
                "channel": "app",
                "received": 30,
                "last_received_at": 999.5,
                "dropped": {"unreadable": 3},
                "refused": [
                    {"status": 401, "reason": "no such token", "requests": 1},
                    {"status": 413, "reason": "too large", "requests": 2},
                ],
                "tails": 2,
                "sources": [
                    {"source": "heroku", "process": "router", "received": 25},
                    {"source": "app", "process": "web.1", "received": 5},
                ],
            },
            {name: each for name, each in self.shown().items() if name != "drains"},
        )
        self.assertEqual(["all"], self.watched)

    def test_drains(self) -> None:
        """They are shown by the host of their receiver, and by nothing else of the URL."""
        self.drains.statuses[4] = DrainStatus("waiting", 30, 10, 2, 18, last_error="answered 503")
        self.drains.statuses[5] = DrainStatus("unusable")
        self.put(
            Drain(4, "app", "d.4", "https://user:secret@Receiver.example/path?secret"),
            Drain(5, "app", "d.5", "ftp://user:secret@h"),
        )
        answer = self.ask("GET", PATH)
        self.assertNotIn("secret", answer.text)
        shown = {each["id"]: each for each in answer.json["drains"]}
        self.assertEqual("http://h1:80", shown[1]["to"])
        self.assertEqual("https://receiver.example:443", shown[4]["to"])
        self.assertEqual(
            ("waiting", 30, 10, 2, 18, "answered 503"),
            tuple(
                shown[4][name]
                for name in ("state", "received", "delivered", "dropped", "buffered", "last_error")
            ),
        )
        self.assertEqual({3: {"id": 3}}, {3: shown[3]})
        self.assertEqual("unusable", shown[5]["state"])
        self.assertNotIn("to", shown[5])

    def test_quiet(self) -> None:
        """Empty members are absent."""
        answer = self.ask("GET", "/v3/channels/empty/activity")
        shown = {
            "at": 1_000.0,
            "node": "node-1",
            "uptime_s": 100.0,
            "channel": "empty",
            "received": 0,
            "tails": 0,
        }
        self.assertAnswer(200, shown, answer)

    def test_rates(self) -> None:
        """They are those of the last ten seconds; the first request has none."""
        counts = self.counts()
        self.assertNotIn("received_per_s", self.shown())
        for _ in range(12):
            self.clock.advance(2)
            counts.received += 20
            counts.received_bytes += 4_000
            counts.drop("unreadable", 1)
            shown = self.shown()
            rates = [shown[name] for name in ("received_per_s", "bytes_per_s", "dropped_per_s")]
            self.assertEqual([10.0, 2_000.0, 0.5], rates)
        self.assertEqual(10.0, shown["window_s"])
        for _ in range(5):
            self.clock.advance(2)
            shown = self.shown()
        self.assertEqual(0.0, shown["received_per_s"])

    def test_after_a_pause(self) -> None:
        """A channel that was not asked about for a while has no rates again."""
        self.shown()
        self.clock.advance(FORGET_AFTER_S)
        self.assertNotIn("received_per_s", self.shown())

    def test_caller(self) -> None:
        """Also a credential of the channel, but not one of another channel."""
        self.assertEqual(200, self.ask("GET", PATH, auth=basic("one")).code)
        answer = self.ask("GET", "/v3/channels/empty/activity", auth=basic("one"))
        self.assertError(401, answer)
