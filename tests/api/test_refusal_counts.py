# SPDX-License-Identifier: Apache-2.0

"""The requests that the APIs refused, in the metrics and in the log."""

from __future__ import annotations

from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure

from logplex.api.refusal_counts import LOG_INTERVAL_S, reason_of
from logplex.api.refusals import TooManyDrains, UnknownChannel
from tests.doubles.api import LegacyCase, V3Case, basic


class RefusedTests(V3Case):
    """API v3."""

    def counts(self) -> dict[tuple[str, str], float]:
        return {
            (each.labels["status"], each.labels["reason"]): each.value
            for each in self.refused[0].samples()
        }

    def test_reasons(self) -> None:
        self.assertEqual("too_many_drains", reason_of(TooManyDrains()))
        self.assertEqual("unknown_channel", reason_of(UnknownChannel()))

    def test_counted(self) -> None:
        """On their head, on their body, and by their route."""
        self.ask("GET", "/v3/channels/app")
        self.ask("GET", "/v3/channels/none")
        self.ask("GET", "/v3/channels/app", auth=basic("full", "x"))
        self.ask("PUT", "/v3/channels/app", {"x": 1})
        self.ask("PUT", "/v3/channels/app", {"tokens": [f"n{n}" for n in range(1_001)]})
        self.ask("PUT", "/v3/channels/app", b"{}", headers={"Content-Type": "text/plain"})
        self.ask("POST", "/v3/credentials", {"permissions": ["channel:none"]})
        self.store.away = True
        self.ask("PUT", "/v3/channels/new", {})
        self.assertEqual(
            {
                ("404", "unknown_channel"): 1,
                ("401", "not_authenticated"): 1,
                ("400", "bad_body"): 1,
                ("400", "too_many_names"): 1,
                ("415", "wrong_type"): 1,
                ("422", "refused"): 1,
                ("503", "store_away"): 1,
            },
            self.counts(),
        )

    def test_too_large(self) -> None:
        exchange = self.send("PUT", "/v3/channels/app", b" " * 1_000_001)
        exchange.lose(Failure(ConnectionLost()))
        self.assertEqual({("413", "too_large"): 1}, self.counts())

    def test_client_left(self) -> None:
        """A request that was not refused when its client left was not refused."""
        self.store.held = []
        exchange = self.send("DELETE", "/v3/channels/app")
        exchange.lose(Failure(ConnectionLost()))
        self.assertEqual({}, self.counts())

    def test_log(self) -> None:
        """One line for each reason, once a minute at most, but none for everyday answers."""
        with capturedLogs() as events:
            for _ in range(3):
                self.ask("PUT", "/v3/channels/app", {"x": 1})
                self.ask("GET", "/v3/channels/none")
            self.clock.advance(LOG_INTERVAL_S)
            self.ask("PUT", "/v3/channels/app", {"x": 1})
        lines = [formatEvent(event) for event in events if "{api} refused" in event["log_format"]]
        self.assertEqual(
            [
                f"api_v3 refused {count} requests: 400 bad_body; the last came from 192.168.1.1"
                for count in (1, 3)
            ],
            lines,
        )


class LegacyRefusedTests(LegacyCase):
    """The legacy API."""

    def test_counted(self) -> None:
        self.ask("POST", "/channels/7/token", {})
        self.ask("POST", "/channels", {}, headers={"Origin": "https://elsewhere.example"})
        self.assertEqual(
            [("400", "missing_name", 1), ("403", "other_origin", 1)],
            [
                (each.labels["status"], each.labels["reason"], each.value)
                for each in self.refused[1].samples()
            ],
        )
