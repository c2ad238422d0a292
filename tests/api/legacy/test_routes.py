# SPDX-License-Identifier: Apache-2.0

"""The legacy API: every route, what it answers, and in which words it refuses."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any
from uuid import UUID

from attrs import evolve, frozen
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.legacy.routes import Legacy, drain_url
from logplex.model.destination import BadDestination
from logplex.model.rods import DISABLED, READ_ONLY
from logplex.model.values import Channel, Drain
from tests.doubles.api import AUTH_KEY, LegacyCase, basic
from tests.doubles.exchange import send

FIRST, SECOND = UUID(int=1), UUID(int=2)


@frozen
class Case:
    """
    A route, and what it answers.

    :ivar answer: the body, text or JSON.
    :ivar good: what it is sent.
    :ivar unknown: the answer for a channel that does not exist.
    """

    method: str
    path: str
    code: int
    answer: Any
    good: Any = None
    unknown: Any = None

    @property
    def is_v2(self) -> bool:
        return self.path.startswith("/v2/")


SESSION = {"channel_id": "7"}

ROUTES = (
    Case("GET", "/healthcheck", 200, {"status": "normal"}),
    Case(
        "POST",
        "/channels",
        201,
        {"channel_id": 1, "tokens": {"app": f"t.{FIRST}"}},
        {"name": "", "tokens": ["app"]},
    ),
    Case(
        "GET",
        "/v2/channels/7",
        200,
        {
            "channel_id": 7,
            "tokens": [
                {"name": "app", "token": "t.70"},
                {"name": "web", "token": "t.71"},
                {"name": "web", "token": "t.72"},
            ],
            "drains": [
                {"id": 71, "token": "d.71", "url": "http://h1:80"},
                {"id": 72, "token": "d.72", "url": "http://h2:80/x?y"},
            ],
        },
        unknown={"error": "Not Found"},
    ),
    Case(
        "GET",
        "/channels/7/info",
        200,
        {
            "channel_id": 7,
            "tokens": {"app": "t.70", "web": "t.72"},
            "drains": ["http://h1:80", "http://h2:80/x?y"],
        },
        unknown="Not found",
    ),
    Case("DELETE", "/channels/7", 200, "OK", unknown="Not found"),
    Case("DELETE", "/v2/channels/7", 200, "", unknown={"error": "Not Found"}),
    Case("POST", "/channels/7/token", 201, f"t.{FIRST}", {"name": "x"}, "Not found"),
    Case(
        "POST",
        "/v2/channels/7/tokens",
        201,
        {"name": "x", "token": f"t.{FIRST}"},
        {"name": "x"},
        {"error": "Not Found"},
    ),
    Case(
        "POST",
        "/channels/7/drains/tokens",
        201,
        {"id": 74, "token": f"d.{FIRST}", "msg": "Successfully reserved drain token"},
        unknown="Not found",
    ),
    Case(
        "POST",
        "/v2/channels/7/drains/73",
        201,
        {"id": 73, "token": "d.73", "url": "https://h:443/p"},
        {"url": "https://h/p"},
        {"error": "Unknown drain."},
    ),
    Case(
        "POST",
        "/v2/channels/7/drains",
        201,
        {"id": 74, "token": f"d.{FIRST}", "url": "http://h:80"},
        {"url": "http://h"},
        {"error": "No such channel"},
    ),
    Case("DELETE", "/v2/channels/7/drains/71", 200, "", unknown={"error": "Not found"}),
    Case("POST", "/channels/7/drains", 501, "V1 Drain Creation API deprecated."),
    Case("POST", "/channels/7/drains/71", 501, "V1 Drain Creation API deprecated."),
    Case("GET", "/channels/7/drains", 501, "V1 Drain Listing API deprecated."),
    Case("DELETE", "/channels/7/drains", 501, "V1 Drain Deletion API deprecated."),
    Case("POST", "/sessions", 201, f"http://api/sessions/{FIRST}", SESSION),
    Case("POST", "/v2/sessions", 201, {"url": f"http://api/sessions/{FIRST}"}, SESSION),
    Case("POST", "/v2/canary-sessions", 201, {"url": f"/v2/canary-fetch/{FIRST}"}, SESSION),
)

CANARY = "/v2/canary-sessions"


class RouteTests(LegacyCase):
    """The table."""

    def each(self) -> Iterator[Case]:
        """Every route, each on a node of its own."""
        for route in ROUTES:
            self.setUp()
            yield route

    def assertSays(self, code: int, body: Any, answer: Any) -> None:
        """A text in ``text/html``, anything else in JSON."""
        (self.assertText if isinstance(body, str) else self.assertAnswer)(code, body, answer)

    def test_all_are_tested(self) -> None:
        """The table has every route but the two that read sessions."""
        served = {
            (method, rule.rule.replace("<number:channel_id>", "7"))
            for rule in Legacy.app.url_map.iter_rules()
            for method in (rule.methods or set()) - {"HEAD"}
            if "session_id" not in rule.rule
        }
        tested = {
            (route.method, route.path.replace("71", "<drain_id:drain_id>"))
            for route in ROUTES
            if "/73" not in route.path
        }
        served.discard(("POST", "/v2/channels/7/drains/<drain_id:drain_id>"))
        self.assertEqual(served, tested)

    def test_good(self) -> None:
        """With a credential or the authentication key, and any content type."""
        for auth in (basic("full"), "Basic " + AUTH_KEY):
            for route in self.each():
                headers = {"Content-Type": "text/plain"}
                answer = self.ask(route.method, route.path, route.good, auth, headers)
                self.assertSays(route.code, route.answer, answer)

    def test_without_right(self) -> None:
        for auth in (None, "Basic", "Basic !", basic("full", "x"), basic("who"), basic("any")):
            for route in self.each():
                answer = self.ask(route.method, route.path, route.good, auth)
                self.assertText(401, "Not Authorized", answer)
                self.assertEqual("Basic realm=Logplex", answer.headers["www-authenticate"])

    def test_other_site(self) -> None:
        """A stranger's page cannot use the password that a browser keeps for the API."""
        elsewhere = (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": "http://localhost:99"},
            {"Sec-Fetch-Site": "cross-site"},
            {"Sec-Fetch-Site": "same-site"},
        )
        for headers in elsewhere:
            for route in self.each():
                headers = {"Content-Type": "text/plain", **headers}
                answer = self.ask(route.method, route.path, route.good, headers=headers)
                if route.method == "GET":
                    self.assertEqual(route.code, answer.code, route)
                else:
                    why = "changes from pages of other sites are refused"
                    self.assertText(403, why, answer)
                    self.assertIsNotNone(self.registry.channel("7"))

    def test_same_site(self) -> None:
        for headers in (
            {"Origin": "http://localhost", "Sec-Fetch-Site": "same-origin"},
            {"Origin": "https://localhost"},
            {"Sec-Fetch-Site": "none"},
        ):
            for route in self.each():
                answer = self.ask(route.method, route.path, route.good, headers=headers)
                self.assertEqual(route.code, answer.code, route)

    def test_two_of_a_header(self) -> None:
        """Programs on the way differ in which of the two they take."""
        for route in self.each():
            for second in (f"Authorization: {basic('one')}", "Host: localhost"):
                headers = {"Authorization": basic("full"), "X": "1\r\n" + second}
                exchange = send(self.legacy, route.method, route.path, headers, b"")
                self.assertEqual(400, exchange.answer().code)

    def test_decided_on_the_head(self) -> None:
        """401 is answered while the body has not come."""
        for route in self.each():
            if route.good is not None:
                exchange = send(self.legacy, route.method, route.path, {}, None)
                self.assertEqual(401, exchange.answer().code)

    def test_read_only(self) -> None:
        """Writes are refused, before the caller is authenticated; canary sessions are not."""
        for auth in (basic("full"), None):
            for route in self.each():
                self.rods.now = evolve(self.rods.now, legacy_api_status=READ_ONLY)
                answer = self.ask(route.method, route.path, route.good, auth)
                if route.method != "GET" and route.path != CANARY:
                    self.assertText(503, "Logplex API temporarily in read-only mode", answer)
                else:
                    self.assertEqual(route.code if auth else 401, answer.code)

    def test_disabled(self) -> None:
        """Everything is refused."""
        for route in self.each():
            self.rods.now = evolve(self.rods.now, legacy_api_status=DISABLED)
            answer = self.ask(route.method, route.path, route.good)
            self.assertText(503, "Service Temporarily Disabled", answer)
        self.assertEqual(503, self.ask("GET", "/nothing").code)
        self.assertEqual(503, self.ask("GET", f"/sessions/{FIRST}").code)

    def test_not_loaded(self) -> None:
        for route in self.each():
            self.registry.ready = False
            answer = self.ask(route.method, route.path, route.good)
            self.assertText(503, "SYSTEM BOOTING", answer)

    def test_bad_body(self) -> None:
        """A body that is not an object in JSON is the client's mistake."""
        for route in self.each():
            for bad in (b"", b"{", b"\xff", b"[]", b'"x"', b"null", b"[" * 100_000):
                if route.good is not None:
                    answer = self.ask(route.method, route.path, bad)
                    self.assertEqual(400, answer.code)
                    self.assertEqual(
                        "application/json" if route.is_v2 else "text/html",
                        answer.headers["content-type"],
                    )

    def test_unknown_channel(self) -> None:
        for route in self.each():
            if route.unknown is not None:
                path = route.path.replace("/7", "/99", 1)
                self.assertSays(404, route.unknown, self.ask(route.method, path, route.good))

    def test_channel_is_no_number(self) -> None:
        """Such a path is unknown."""
        for route in self.each():
            if "/7" in route.path:
                for wrong in ("/app", "/-7", "/7x", "/%D9%A7", "/" + "7" * 129):
                    path = route.path.replace("/7", wrong, 1)
                    self.assertText(404, "Not found", self.ask(route.method, path, route.good))

    def test_wrong_method(self) -> None:
        """As unknown as an unknown path, and without authentication."""
        paths = {route.path for route in ROUTES if "/73" not in route.path}
        for path in paths:
            known = {route.method for route in ROUTES if route.path == path}
            if path.endswith("/71"):
                known |= {"POST"}
            for method in {"GET", "PUT", "POST", "DELETE", "PATCH", "OPTIONS", "get"} - known:
                self.assertText(404, "Not found", self.ask(method, path, auth=None))

    def test_unknown_path(self) -> None:
        for path in (
            "/",
            "/x",
            "/v2",
            "/v3/channels/7",
            "/channels/7/",
            "/healthcheck/",
            "/load",
            "/sessions/%FF",
            "/sessions/a%2Fb",
        ):
            self.assertText(404, "Not found", self.ask("GET", path, auth=None))

    def test_store_away(self) -> None:
        for route in self.each():
            self.store.away = True
            answer = self.ask(route.method, route.path, route.good)
            if route.path == "/healthcheck":
                self.assertText(500, "Increment healthcheck counter failed", answer)
            elif route.code != 501 and route.method != "GET":
                self.assertEqual(503, answer.code)


class HealthCheckTests(LegacyCase):
    """``GET /healthcheck``"""

    def test_counts(self) -> None:
        """It proves that the store can write."""
        self.ask("GET", "/healthcheck")
        self.ask("GET", "/healthcheck")
        self.assertEqual(2, self.store.counters["healthcheck"])


class ChannelTests(LegacyCase):
    """``POST /channels``"""

    def test_without_tokens(self) -> None:
        for channel_id, body in ((1, b"{}"), (2, b'{"tokens": []}')):
            answer = self.ask("POST", "/channels", body)
            self.assertAnswer(201, {"channel_id": channel_id, "tokens": {}}, answer)

    def test_name(self) -> None:
        self.ask("POST", "/channels", {"name": "shop"})
        self.assertEqual(Channel("1", "shop"), self.registry.channel("1"))

    def test_bad_name(self) -> None:
        for name in (1, None, ["x"]):
            answer = self.ask("POST", "/channels", {"name": name})
            self.assertText(400, "Channel name must be a string.", answer)

    def test_name_that_is_no_text(self) -> None:
        """Half of a surrogate pair can be written in JSON."""
        half = '{"name": "\\ud800"}'
        for body in (
            half.encode(),
            half.encode("utf-16"),
            half.encode("utf-32-be"),
            b'{"name": "\xed\xa0\x80"}',
        ):
            self.assertEqual(400, self.ask("POST", "/channels", body).code)
        whole = '{"name": "\\ud83d\\ude00"}'
        self.assertEqual(201, self.ask("POST", "/channels", whole.encode()).code)

    def test_bad_tokens(self) -> None:
        bad: tuple[object, ...] = ("app", {}, [1], ["a b"])
        for tokens in bad:
            self.assertEqual(400, self.ask("POST", "/channels", {"tokens": tokens}).code)

    def test_ids(self) -> None:
        """They are counted, and those that are taken are left out."""
        ids = [self.ask("POST", "/channels", {}).json["channel_id"] for _ in range(7)]
        self.assertEqual([1, 2, 3, 4, 5, 6, 9], ids)


class TokenTests(LegacyCase):
    """``POST /channels/:id/token``, ``POST /v2/channels/:id/tokens``"""

    def test_without_name(self) -> None:
        for body in ({}, {"name": None}, {"name": 1}):
            answer = self.ask("POST", "/channels/7/token", body)
            self.assertText(400, "'name' post param missing", answer)
            answer = self.ask("POST", "/v2/channels/7/tokens", body)
            self.assertAnswer(422, {"error": "NAME is a required field"}, answer)

    def test_bad_name(self) -> None:
        for path in ("/channels/7/token", "/v2/channels/7/tokens"):
            self.assertEqual(400, self.ask("POST", path, {"name": "a b"}).code)


class DrainTests(LegacyCase):
    """Drains of v2."""

    PATH = "/v2/channels/7/drains"

    def test_syslog(self) -> None:
        """The used port is shown; a host without port means the old default port."""
        for body, url in (
            ({"url": "syslog://h"}, "syslog://h:601"),
            ({"url": "syslog+tls://h"}, "syslog+tls://h:6514"),
            ({"host": "h"}, "syslog://h:514"),
            ({"host": "h", "port": 99}, "syslog://h:99"),
        ):
            answer = self.ask("POST", self.PATH, body)
            self.assertEqual((201, url), (answer.code, answer.json["url"]))

    def test_already_there(self) -> None:
        for path in (self.PATH, f"{self.PATH}/73"):
            answer = self.ask("POST", path, {"url": "http://h1:80"})
            self.assertAnswer(409, {"error": "Already exists"}, answer)

    def test_too_many(self) -> None:
        """Six with URL; a reserved one finds no room either."""
        self.put(*(Drain(n, "7", f"d.{n}", f"http://h{n}") for n in range(4, 8)))
        error = {"error": "You have already added the maximum number of drains allowed"}
        for path in (self.PATH, f"{self.PATH}/73"):
            self.assertAnswer(422, error, self.ask("POST", path, {"url": "http://new"}))
        self.assertEqual(201, self.ask("POST", f"{self.PATH}/71", {"url": "http://new"}).code)

    def test_invalid(self) -> None:
        for body in (
            {},
            {"url": 1},
            {"url": "ftp://h"},
            {"host": "a/b"},
            {"host": "h", "port": "x"},
        ):
            answer = self.ask("POST", self.PATH, body)
            self.assertError(422, answer)
            self.assertTrue(answer.json["error"].startswith("Invalid drain destination: "))

    def test_invalid_removes_a_reserved_one(self) -> None:
        for drain_id in (71, 73):
            answer = self.ask("POST", f"{self.PATH}/{drain_id}", {"url": "ftp://h"})
            self.assertError(422, answer)
        self.assertIsNotNone(self.registry.drain(71))
        self.assertIsNone(self.registry.drain(73))

    def test_that_one_was_removed_is_told(self) -> None:
        """A change is in the log, also where the answer is a refusal."""
        with capturedLogs() as events:
            self.ask("POST", f"{self.PATH}/73", {"url": "ftp://h"})
        (line,) = [each for each in map(formatEvent, events) if each and "audit:" in each]
        self.assertIn(" attach_drain channel_id=7 drain_id=73 removed=drain from ", line)
        self.assertTrue(line.endswith(": refused with 422"), line)

    def test_unknown(self) -> None:
        """No such drain, or another channel's."""
        for path in (f"{self.PATH}/99", f"{self.PATH}/1"):
            answer = self.ask("POST", path, {"url": "http://h"})
            self.assertAnswer(404, {"error": "Unknown drain."}, answer)
            self.assertAnswer(404, {"error": "Not found"}, self.ask("DELETE", path))


class DrainUrlTests(SynchronousTestCase):
    """``drain_url``"""

    def test_url(self) -> None:
        self.assertEqual("x", drain_url({"url": "x", "host": "h"}))

    def test_host(self) -> None:
        for body, url in (
            ({"host": "h"}, "syslog://h:514"),
            ({"host": "h", "port": 99}, "syslog://h:99"),
            ({"host": "h", "port": "99"}, "syslog://h:99"),
            ({"host": "::1"}, "syslog://[::1]:514"),
        ):
            self.assertEqual(url, drain_url(body))

    def test_bad(self) -> None:
        for body in (
            {"host": ""},
            {"host": "a@b"},
            {"host": 1},
            {"host": "h", "port": None},
            {"host": "h", "port": True},
            {"host": "h", "port": -1},
            {"host": "h", "port": "1/x"},
            {"port": 1},
        ):
            with self.assertRaises(BadDestination):
                drain_url(body)


class SessionTests(LegacyCase):
    """Sessions."""

    PATHS = ("/sessions", "/v2/sessions", CANARY)

    def test_kept(self) -> None:
        for path in self.PATHS:
            self.ask("POST", path, {**SESSION, "tail": True})
        for n in (1, 2, 3):
            ends_at, body = self.store.sessions[str(UUID(int=n))]
            self.assertEqual((1_360, b'{"channel_id": "7", "tail": true}'), (ends_at, body))

    def test_without_channel(self) -> None:
        answer = self.ask("POST", "/sessions", {})
        self.assertText(400, "'channel_id' missing", answer)
        for path in ("/v2/sessions", CANARY):
            answer = self.ask("POST", path, {"channel_id": 7})
            self.assertAnswer(400, {"error": "'channel_id' missing"}, answer)

    def test_unknown_channel(self) -> None:
        self.assertText(404, "Not found", self.ask("POST", "/sessions", {"channel_id": "99"}))
        for path in ("/v2/sessions", CANARY):
            answer = self.ask("POST", path, {"channel_id": "99"})
            self.assertAnswer(404, {"error": "Not Found"}, answer)

    def test_denied(self) -> None:
        """A control rod forbids sessions that could tail."""
        self.rods.now = evolve(self.rods.now, deny_tail_sessions=True)
        codes = [self.ask("POST", path, SESSION).code for path in self.PATHS]
        self.assertEqual([503, 503, 201], codes)

    def test_one_channel(self) -> None:
        """A credential of one channel opens sessions on that one only."""
        for path in self.PATHS:
            for channel_id, code in (("app", 201), ("7", 403)):
                answer = self.ask("POST", path, {"channel_id": channel_id}, basic("one"))
                self.assertEqual(code, answer.code)

    def test_read(self) -> None:
        """The URL is the right to read; canary sessions never tail."""
        for path, page in (
            ("/sessions/x-1", "x-1 True"),
            ("/sessions/x-1?srv=1", "x-1 True"),
            ("/v2/canary-fetch/x-1", "x-1 False"),
        ):
            answer = self.ask("GET", path, auth=None)
            self.assertEqual((200, page), (answer.code, answer.text))

    def test_read_in_read_only(self) -> None:
        self.rods.now = evolve(self.rods.now, legacy_api_status=READ_ONLY)
        self.assertEqual(200, self.ask("GET", "/sessions/x", auth=None).code)


class BugTests(LegacyCase):
    """A bug of ours is answered and logged."""

    def test_no_traceback(self) -> None:
        def broken(channel_id: str) -> object:
            raise RuntimeError("secret")

        self.patch(self.registry, "drains_of", broken)
        self.assertText(500, "internal error", self.send("GET", "/channels/7/info").answer())
        self.assertError(500, self.send("GET", "/v2/channels/7").answer())
        self.assertEqual(2, len(self.flushLoggedErrors(RuntimeError)))
