# SPDX-License-Identifier: Apache-2.0

"""Every route of API v3, by caller, by status of the API, by body."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from attrs import evolve, frozen
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.v3.activity import ActivityRoutes
from logplex.api.v3.channels import ChannelRoutes
from logplex.api.v3.configuration import ConfigurationRoutes
from logplex.api.v3.credentials import CredentialRoutes
from logplex.api.v3.operation import OperationRoutes
from logplex.model.rods import DISABLED, NORMAL, READ_ONLY
from logplex.model.values import Token
from tests.api.openapi import V3
from tests.doubles.api import AUTH_KEY, SESSION, V3Case, basic
from tests.doubles.exchange import send

NOT_SENT = object()


@frozen
class Case:
    """
    A route, and what it answers.

    :ivar good: a body that it takes; ``None``: it has none.
    :ivar wrong: bodies of the wrong shape.
    :ivar needs_store: whether it fails without store, if it writes.
    :ivar unknown: the answer for a channel that does not exist; ``None``: it has to do with none.
    """

    method: str
    path: str
    code: int
    good: Any = None
    wrong: tuple[Any, ...] = ()
    unknown: int | None = 404
    channel_in_body: bool = False
    never_disabled: bool = False
    needs_store: bool = True

    @property
    def writes(self) -> bool:
        return self.method != "GET"


ROUTES = (
    Case("GET", "/v3/channels/app", 200),
    Case(
        "PUT",
        "/v3/channels/app",
        200,
        {"tokens": ["a"]},
        ([], "x", 1, None, {"tokens": "a"}, {"tokens": [1]}, {"tokens": None}, {"tokens": ["a b"]}),
        unknown=201,
    ),
    Case("DELETE", "/v3/channels/app", 204),
    Case("GET", "/v3/channels/app/tokens", 200),
    Case("DELETE", "/v3/channels/app/tokens/t.old", 204),
    Case(
        "POST", "/v3/channels/app/tokens", 200, {"name": "a"}, ([], {}, {"name": 1}, {"name": ""})
    ),
    Case(
        "POST",
        "/v3/channels/app/drains",
        201,
        {"url": "http://h"},
        ([], {"url": None}, {"url": 1}, {"url": ""}, {"url": "ftp://x"}, {"url": "http://"}),
    ),
    Case("POST", "/v3/channels/app/drains", 201, {}),
    Case(
        "PUT",
        "/v3/channels/app/drains/1",
        200,
        {"url": "http://h"},
        ([], {}, {"url": None}, {"url": "http://h:0"}),
    ),
    Case("DELETE", "/v3/channels/app/drains/1", 204),
    Case("GET", "/v3/channels/app/drains/1", 200),
    Case("POST", "/v3/channels/app/drains/1/test", 200, {}, ([],), needs_store=False),
    Case("GET", "/v3/channels/app/logs", 200),
    Case("GET", "/v3/channels/app/activity", 200),
    Case(
        "POST",
        "/v3/sessions",
        201,
        {"channel_id": "app"},
        ([], {}, {"channel_id": 1}, {"channel_id": "app", "num": "x"}),
        unknown=422,
        channel_in_body=True,
    ),
    Case("DELETE", f"/v3/sessions/{SESSION}", 204, unknown=None),
    Case("GET", "/v3/credentials", 200, unknown=None),
    Case(
        "POST",
        "/v3/credentials",
        201,
        {"id": "new", "name": "for tests", "permissions": ["full_api"]},
        (
            [],
            {"id": 1},
            {"id": "a:b"},
            {"id": "token"},
            {"name": "x" * 129},
            {"permissions": "full_api"},
            {"permissions": ["all"]},
            {"permissions": ["channel:any"]},
        ),
        unknown=None,
    ),
    Case("GET", "/v3/credentials/stored", 200, unknown=None),
    Case("POST", "/v3/credentials/stored/password", 200, {}, ([],), unknown=None),
    Case("DELETE", "/v3/credentials/stored", 204, unknown=None),
    Case("GET", "/v3/configuration", 200, unknown=None),
    Case(
        "POST",
        "/v3/configuration",
        200,
        {"channels": [{"id": "new", "name": "", "flags": []}]},
        ([], {"channels": {}}, {"channels": [{"id": "new"}]}, {"chanels": []}),
        unknown=None,
    ),
    Case("GET", "/v3/health", 200, unknown=None),
    Case("GET", "/v3/rods", 200, unknown=None, never_disabled=True),
    Case(
        "PUT",
        "/v3/rods",
        200,
        {"rods": {"deny_tail_sessions": True, "api_status": None}, "scope": "cluster"},
        (
            [],
            {},
            {"rods": None},
            {"rods": {"deny_everything": True}},
            {"rods": {"deny_tail_sessions": "yes"}},
            {"rods": {"api_status": "off"}},
            {"rods": {}, "scope": "world"},
        ),
        unknown=None,
        never_disabled=True,
    ),
    Case("DELETE", "/v3/tails", 204, unknown=None, needs_store=False),
    Case("GET", "/v3/shards", 200, unknown=None),
    Case(
        "POST",
        "/v3/shards",
        200,
        {"step": "prepare", "urls": ["redis://a", "redis://b"]},
        (
            [],
            {},
            {"step": "jump"},
            {"step": "prepare"},
            {"step": "commit", "urls": ["redis://a"]},
            {"step": "prepare", "urls": "redis://a"},
            {"step": "prepare", "urls": ["http://a"]},
        ),
        unknown=None,
        needs_store=False,
    ),
)


class RouteTests(V3Case):
    """The table."""

    def each(self) -> Iterator[Case]:
        """Every route, each on a node of its own."""
        for route in ROUTES:
            self.setUp()
            yield route

    def test_good(self) -> None:
        """A caller with the right gets the answer, by a credential or the authentication key."""
        for auth in (basic("full"), "Basic " + AUTH_KEY):
            for route in self.each():
                answer = self.ask(route.method, route.path, route.good, auth)
                self.assertEqual(route.code, answer.code, route)

    def test_trailing_slash(self) -> None:
        for route in self.each():
            answer = self.ask(route.method, route.path + "/", route.good)
            self.assertEqual(route.code, answer.code, route)

    def test_without_right(self) -> None:
        """
        No credential, an unknown one, a wrong password, and credentials that are not for the API.
        """
        for auth in (None, "Basic", "Basic !", basic("full", "x"), basic("who"), basic("any")):
            for route in self.each():
                answer = self.ask(route.method, route.path, route.good, auth)
                self.assertError(401, answer)
                self.assertEqual("Basic realm=Logplex", answer.headers["www-authenticate"])

    def test_status(self) -> None:
        """Read-only and disabled APIs say so before they authenticate."""
        for auth in (basic("full"), None):
            for status in (READ_ONLY, DISABLED):
                for route in self.each():
                    self.rods.now = evolve(self.rods.now, api_status=status)
                    answer = self.ask(route.method, route.path, route.good, auth)
                    if not route.never_disabled and (status == DISABLED or route.writes):
                        self.assertError(503, answer)
                    elif auth:
                        self.assertEqual(route.code, answer.code, route)
                    else:
                        self.assertError(401, answer)

    def test_not_loaded(self) -> None:
        """Until the configuration is there nothing is answered, but what the node waits for."""
        for route in self.each():
            self.registry.ready = False
            answer = self.ask(route.method, route.path, route.good)
            self.assertEqual(200 if route.path == "/v3/health" else 503, answer.code)

    def test_bad_json(self) -> None:
        for route in self.each():
            for bad in (b"", b"{", b"\xff", b'{"a": 1,}', b"[" * 100_000):
                if route.good is not None:
                    self.assertError(400, self.ask(route.method, route.path, bad))

    def test_wrong_shape(self) -> None:
        for route in self.each():
            for wrong in route.wrong:
                if wrong is None:
                    wrong = b"null"
                self.assertError(400, self.ask(route.method, route.path, wrong))

    def test_unknown_member(self) -> None:
        """It is named, and nothing is done."""
        for route in self.each():
            if route.good is not None:
                before = dict(self.store.values)
                answer = self.ask(route.method, route.path, {**route.good, "uri": 1})
                self.assertError(400, answer)
                self.assertIn("unknown member 'uri'", answer.json["error"])
                self.assertEqual(before, self.store.values)

    def test_member_twice(self) -> None:
        for route in self.each():
            if route.good is not None:
                body = json.dumps(route.good)[:-1] + (", " if route.good else "")
                twice = f'{body}"x": 1, "x": 1}}'.encode()
                answer = self.ask(route.method, route.path, twice)
                self.assertAnswer(400, {"error": "bad JSON"}, answer)

    def test_two_of_a_header(self) -> None:
        """Programs on the way differ in which of the two they take."""
        for route in self.each():
            for headers in (f"Authorization: {basic('one')}", "Host: localhost"):
                exchange = send(
                    self.v3,
                    route.method,
                    route.path,
                    {"Authorization": basic("full"), "X": "1\r\n" + headers},
                    b"",
                )
                self.assertError(400, exchange.answer())

    def test_wrong_type(self) -> None:
        """A body must say that it is JSON; parameters of the type do not matter."""
        for route in self.each():
            if route.good is not None:
                for wrong in ("text/plain", "application/jsonx", "", "x"):
                    headers = {"Content-Type": wrong}
                    answer = self.ask(route.method, route.path, b"{", headers=headers)
                    self.assertError(415, answer)
                headers = {"Content-Type": "Application/JSON; charset=utf-8"}
                answer = self.ask(route.method, route.path, route.good, headers=headers)
                self.assertEqual(route.code, answer.code, route)

    def test_decided_on_the_head(self) -> None:
        """401 and 415 are answered while the body has not come."""
        for route in self.each():
            if route.good is not None:
                for headers, code in (({}, 401), ({"Authorization": basic("full")}, 415)):
                    exchange = send(self.v3, route.method, route.path, headers, None)
                    self.assertEqual(code, exchange.answer().code)

    def test_unknown_channel(self) -> None:
        for route in self.each():
            if route.unknown is None:
                continue
            path, good = route.path.replace("app", "none"), route.good
            if route.channel_in_body:
                good = {**good, "channel_id": "none"}
            answer = self.ask(route.method, path, good)
            self.assertEqual(route.unknown, answer.code, route)

    def test_body_before_channel(self) -> None:
        """A bad body is told before an unknown channel."""
        for route in self.each():
            for wrong in route.wrong:
                answer = self.ask(route.method, route.path.replace("app", "none"), wrong or b"0")
                self.assertError(400, answer)

    def test_bad_channel_id(self) -> None:
        """An id that no channel can have."""
        for route in self.each():
            if "app" in route.path:
                for bad in ("a:b", "a%20b", "a%2Fb", "%C3%A4", "%FF", "%00", "x" * 129):
                    answer = self.ask(route.method, route.path.replace("app", bad), route.good)
                    self.assertError(400, answer)

    def test_wrong_method(self) -> None:
        """The answer says which methods there are, also to strangers."""
        allowed: dict[str, set[str]] = {"/v3/healthcheck": {"GET", "HEAD"}}
        for route in ROUTES:
            methods = allowed.setdefault(route.path, set())
            methods |= {"GET", "HEAD"} if route.method == "GET" else {route.method}
        for path, methods in allowed.items():
            for method in {"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "X"} - methods:
                answer = self.ask(method, path, auth=None)
                self.assertError(405, answer)
                self.assertEqual(methods, set(answer.headers["allow"].split(", ")))

    def test_store_away(self) -> None:
        """Routes that need the store are answered without it."""
        for route in self.each():
            self.store.away = True
            if self.share is not None:
                self.share.away = True
            answer = self.ask(route.method, route.path, route.good)
            needs_store = route.writes and route.needs_store
            self.assertEqual(503 if needs_store else route.code, answer.code)

    def test_store_silent(self) -> None:
        """A store that does not answer is given up after less than two seconds."""
        for route in self.each():
            commits = "s/" in route.path and SESSION not in route.path
            if route.writes and route.needs_store and commits:
                self.store.held = []
                exchange = self.send(route.method, route.path, route.good)
                self.clock.advance(2)
                self.assertError(503, exchange.answer())

    def test_too_large(self) -> None:
        """A body past the bound is refused on its length."""
        for route in self.each():
            if route.good is not None:
                answer = self.ask(route.method, route.path, b" " * 1_000_001)
                self.assertError(413, answer)

    def test_everything_is_shown(self) -> None:
        """The tables of this module show every answer that is described, and nothing else."""
        V3Case.seen.clear()
        for name in dir(self):
            if name.startswith("test_") and name != "test_everything_is_shown":
                self.setUp()
                getattr(self, name)()
        self.setUp()
        self.ask("GET", "/v3/healthcheck")
        self.registry.ready = False
        self.ask("GET", "/v3/healthcheck")
        self.setUp()
        self.ask("POST", "/v3/channels/app/drains", {"url": "http://h1"})
        self.ask("PUT", "/v3/channels/app/drains/2", {"url": "http://h1"})
        for n in range(5):
            self.ask("POST", "/v3/channels/app/drains", {"url": f"http://new{n}"})
        self.put(*(Token(f"t.{n}", "app", "web") for n in range(1_000)))
        self.ask("POST", "/v3/channels/app/tokens", {"name": "more"})
        self.ask("POST", "/v3/sessions", {"channel_id": "empty"}, basic("one"))
        self.ask("DELETE", "/v3/sessions/none")
        self.ask("DELETE", "/v3/sessions/a%2Fb")
        for _ in range(1_001):
            self.ask("POST", "/v3/sessions", {"channel_id": "app"})
        self.ask("POST", "/v3/credentials", {"permissions": ["channel:none"]})
        self.ask("POST", "/v3/credentials", {"id": "stored"})
        for credential_id in ("none", "full", "a%2Fb"):
            self.ask("GET", f"/v3/credentials/{credential_id}")
            self.ask("DELETE", f"/v3/credentials/{credential_id}")
            self.ask("POST", f"/v3/credentials/{credential_id}/password", {})
        self.ask("POST", "/v3/shards", {"step": "commit"})
        self.ask("POST", "/v3/shards", {"step": "commit"})
        self.in_cluster = False
        self.setUp()
        self.ask("GET", "/v3/shards")
        self.ask("POST", "/v3/shards", {"step": "commit"})
        self.ask("PUT", "/v3/rods", {"rods": {}, "scope": "cluster"})
        self.in_cluster = True
        self.setUp()
        assert self.replacement is not None
        self.replacement.away = True
        self.ask("POST", "/v3/shards", {"step": "commit"})
        self.assertEqual(set(), V3.answers - V3Case.seen)


class UnknownRouteTests(V3Case):
    """Paths that do not exist."""

    def test_unknown(self) -> None:
        for path in (
            "/",
            "/v3",
            "/v3/channel",
            "/v3/channels/",
            "/v3/channels//tokens",
            "/v3/channels/app/drains/x",
            "/v3/channels/app/drains/1x",
            "/v3/channels/app/drains/-1",
            "/v3/channels/app/drains/%D9%A1",
            "/v3/channels/app/drains/" + "9" * 5_000,
            "/v3/channels/app/tokens/t.new/x",
            "/v4/channels/app",
            "*",
        ):
            for method in ("GET", "PUT", "POST", "DELETE"):
                self.assertError(404, self.ask(method, path))

    def test_disabled(self) -> None:
        """A disabled API does not even say what it has not."""
        self.rods.now = evolve(self.rods.now, api_status=DISABLED)
        self.assertError(503, self.ask("GET", "/nothing"))

    def test_bad_host(self) -> None:
        """A ``Host`` that is none is the client's mistake, and no bug."""
        for host in ("a..b", "x" * 70 + ".y", "\xff"):
            answer = self.ask("GET", "/v3/channels/app", headers={"Host": host})
            self.assertIn(answer.code, (200, 400))

    def test_method_in_lower_case(self) -> None:
        """Methods are case-sensitive: this is another one, and no way around a check."""
        for method in ("get", "Put"):
            headers = {"Authorization": basic("full")}
            answer = send(self.v3, method, "/v3/channels/app", headers, b"{}").answer()
            self.assertEqual(405, answer.code)

    def test_bytes_that_are_no_text(self) -> None:
        """In whatever header."""
        for name in ("Request-Id", "Content-Type", "Authorization", "Host", "User-Agent", "X"):
            headers = {"Content-Type": "application/json", "Authorization": basic("full")}
            headers[name] = "a\udcffb"
            answer = send(self.v3, "PUT", "/v3/channels/app", headers, b"{}").answer()
            self.assertIn(answer.code, (200, 400, 401, 415), name)


class DescriptionTests(SynchronousTestCase):
    """The description as a whole."""

    def test_routes(self) -> None:
        """The routes are those of the description."""
        served = {
            (method, rule.rule.replace("<drain_id:", "<").replace("<", "{").replace(">", "}"))
            for routes in (
                ActivityRoutes,
                ChannelRoutes,
                ConfigurationRoutes,
                CredentialRoutes,
                OperationRoutes,
            )
            for rule in routes.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD"}
        }
        self.assertEqual(V3.routes, served)


class StatusNameTests(V3Case):
    """The statuses are switched while the node runs."""

    def test_back_to_normal(self) -> None:
        for status, code in ((DISABLED, 503), (NORMAL, 200), (READ_ONLY, 200)):
            self.rods.now = evolve(self.rods.now, api_status=status)
            self.assertEqual(code, self.ask("GET", "/v3/channels/app").code)
