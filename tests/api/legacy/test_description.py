# SPDX-License-Identifier: Apache-2.0

"""The description of the legacy API as a whole."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.legacy.routes import Legacy
from logplex.model.rods import DISABLED
from logplex.model.values import Drain, Token
from tests.api.legacy.test_routes import ROUTES
from tests.api.openapi import LEGACY
from tests.doubles.api import LegacyCase, basic

READING = ("/sessions/x-1", "/v2/canary-fetch/x-1")


class RoutesTests(SynchronousTestCase):
    """Methods and paths."""

    def test_routes(self) -> None:
        """The routes are those of the description."""
        served = {
            (
                method,
                rule.rule.replace("<number:", "<")
                .replace("<drain_id:", "<")
                .replace("<", "{")
                .replace(">", "}"),
            )
            for rule in Legacy.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD"}
        }
        self.assertEqual(LEGACY.routes, served)


class AnswersTests(LegacyCase):
    """Answers; whatever is asked here is held against the description."""

    def test_everything_is_shown(self) -> None:
        """Every answer that is described is given, somewhere."""
        LegacyCase.seen.clear()
        self.ask_every_route()
        self.ask_for_sessions()
        self.ask_for_tokens()
        self.ask_for_drains()
        for path in ("/channels/7/token", "/v2/channels/7/tokens"):
            self.ask("POST", path, {})
        self.assertEqual(set(), LEGACY.answers - LegacyCase.seen)

    def ask_every_route(self) -> None:
        """With and without right, body, channel, and store."""
        for route in ROUTES:
            self.setUp()
            unknown = route.path.replace("/7", "/x", 1)
            self.ask(route.method, route.path, route.good, None)
            self.ask(route.method, unknown, route.good)
            if route.good is not None:
                self.ask(route.method, route.path, b"{")
                self.ask(route.method, route.path, b" " * 1_000_001)
            self.store.away = True
            self.ask(route.method, route.path, route.good)
            self.store.away = False
            self.ask(route.method, route.path, route.good)
            elsewhere = {"Origin": "https://elsewhere.example"}
            self.ask(route.method, route.path, route.good, headers=elsewhere)
            self.rods.now = evolve(self.rods.now, legacy_api_status=DISABLED)
            self.ask(route.method, route.path, route.good)

    def ask_for_sessions(self) -> None:
        """To open them, and to read them."""
        self.setUp()
        for path in ("/sessions", "/v2/sessions", "/v2/canary-sessions"):
            self.ask("POST", path, {"channel_id": "99"})
            self.ask("POST", path, {"channel_id": "7"}, basic("one"))
        self.ask("GET", READING[0], auth=None, headers={"Accept": "text/event-stream"})
        self.ask("OPTIONS", READING[0], auth=None)
        self.ask("OPTIONS", READING[0].replace("x-1", "%FF"), auth=None)
        for path in ("/sessions", "/v2/sessions", "/v2/canary-sessions"):
            for _ in range(1_001 if path == "/sessions" else 1):
                self.ask("POST", path, {"channel_id": "8"})
        for path in READING:
            self.ask("GET", path, auth=None)
            self.ask("GET", path.replace("x-1", "%FF"), auth=None)
            self.ask("GET", path, auth=None, headers={"Host": "a..b"})
            self.registry.ready = False
            self.ask("GET", path, auth=None)
            self.registry.ready = True

    def ask_for_tokens(self) -> None:
        """One too many."""
        self.setUp()
        self.put(*(Token(f"t.{n}", "7", "web") for n in range(1_000)))
        for path in ("/channels/7/token", "/v2/channels/7/tokens"):
            self.ask("POST", path, {"name": "more"})

    def ask_for_drains(self) -> None:
        """Those that are invalid, there already, or too many."""
        self.setUp()
        for path in ("/v2/channels/7/drains", "/v2/channels/7/drains/71"):
            self.ask("POST", path, {"url": "http://h2/x?y"})
            self.ask("POST", path, {"url": "ftp://h"})
        self.put(*(Drain(n, "7", f"d.{n}", f"http://h{n}") for n in range(4, 8)))
        self.ask("POST", "/channels/7/drains/tokens")
