# SPDX-License-Identifier: Apache-2.0

"""The routes of API v3 about channels, and the bodies of their answers."""

from __future__ import annotations

from uuid import UUID

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.python.failure import Failure

from logplex.api.json import MAX_REQUEST_ID_CHARACTERS
from logplex.interfaces import DurableStatus, StoreAway
from logplex.model.values import Channel, Credential, Drain, Token
from tests.doubles.api import SESSION, V3Case, basic


class HealthCheckTests(V3Case):
    """``GET /v3/healthcheck``"""

    def test_healthy(self) -> None:
        answer = self.ask("GET", "/v3/healthcheck", auth=None)
        self.assertEqual((200, b"OK"), (answer.code, answer.body))

    def test_booting(self) -> None:
        self.registry.ready = False
        answer = self.ask("GET", "/v3/healthcheck", auth=None)
        self.assertEqual((503, b"SYSTEM BOOTING"), (answer.code, answer.body))

    def test_disabled(self) -> None:
        """The only thing that a disabled API answers."""
        self.rods.now = evolve(self.rods.now, api_status="disabled")
        self.assertEqual(200, self.ask("GET", "/v3/healthcheck", auth=None).code)


class RequestIdTests(V3Case):
    """``Request-Id``"""

    def id_for(self, theirs: str | None) -> str:
        headers = {} if theirs is None else {"Request-Id": theirs}
        answer = self.ask("GET", "/v3/channels/none", auth=None, headers=headers)
        return answer.headers["request-id"]

    def test_new(self) -> None:
        """A request without one gets a UUID, another one each time."""
        first, second = self.id_for(None), self.id_for(None)
        self.assertEqual(first, str(UUID(first)))
        self.assertNotEqual(first, second)

    def test_theirs(self) -> None:
        self.assertEqual("abc-1.2_3:4", self.id_for("abc-1.2_3:4"))

    def test_cleaned(self) -> None:
        """Characters that could forge a log line go, and the rest is cut."""
        self.assertEqual("abc", self.id_for('a b\x1b"<c>\xff'))
        self.assertEqual("abc", self.id_for("ab\udcffc"))
        self.assertEqual(MAX_REQUEST_ID_CHARACTERS, len(self.id_for("x" * 1_000)))

    def test_nothing_left(self) -> None:
        UUID(self.id_for("<>"))


class GuessingTests(V3Case):
    """A caller that keeps failing to authenticate waits for the answer."""

    def test_slow(self) -> None:
        """After ten failures; other callers do not wait, nor does one with the password."""
        for _ in range(10):
            self.assertError(401, self.ask("GET", "/v3/channels/app", auth=basic("full", "x")))
        eleventh = self.send("DELETE", "/v3/channels/app", auth=basic("full", "x"))
        self.assertFalse(eleventh.is_answered)
        self.assertError(401, self.ask("GET", "/v3/channels/app", auth=basic("other", "x")))
        self.assertEqual(200, self.ask("GET", "/v3/channels/app").code)
        self.clock.advance(1)
        self.assertError(401, eleventh.answer())


class ChannelTests(V3Case):
    """``/v3/channels/:id``"""

    def test_show(self) -> None:
        """The newest token of each name; no drains without URL."""
        self.assertAnswer(
            200,
            {
                "channel": "app",
                "tokens": {"web": "t.new"},
                "drains": [
                    {"id": 1, "token": "d.1", "url": "http://h1"},
                    {"id": 2, "token": "d.2", "url": "http://h2"},
                ],
            },
            self.ask("GET", "/v3/channels/app"),
        )

    def test_show_empty(self) -> None:
        """Empty members are absent."""
        self.assertAnswer(200, {"channel": "empty"}, self.ask("GET", "/v3/channels/empty"))

    def test_show_only_reserved(self) -> None:
        self.put(Drain(9, "empty", "d.9"))
        self.assertAnswer(200, {"channel": "empty"}, self.ask("GET", "/v3/channels/empty"))

    def test_put_new(self) -> None:
        answer = self.ask("PUT", "/v3/channels/new", {"tokens": ["b", "a", "b"]})
        tokens = {"b": f"t.{UUID(int=1)}", "a": f"t.{UUID(int=2)}"}
        self.assertAnswer(201, {"channel": "new", "tokens": tokens}, answer)

    def test_put_escaped(self) -> None:
        """An id may have to be escaped in the path."""
        answer = self.ask("PUT", "/v3/channels/%23%3f%25", {})
        self.assertAnswer(201, {"channel": "#?%"}, answer)

    def test_put_existing(self) -> None:
        """The list is the whole set; kept names keep their tokens."""
        answer = self.ask("PUT", "/v3/channels/app", {"tokens": ["web", "new"]})
        self.assertEqual(200, answer.code)
        self.assertEqual({"web": "t.new", "new": f"t.{UUID(int=1)}"}, answer.json["tokens"])
        answer = self.ask("PUT", "/v3/channels/app", {"tokens": ["new"]})
        self.assertEqual({"new": f"t.{UUID(int=1)}"}, answer.json["tokens"])
        self.assertIsNone(self.registry.token("t.old"))

    def test_put_without_tokens(self) -> None:
        """Without the key they stay, an empty list deletes them."""
        self.assertEqual({"web": "t.new"}, self.ask("PUT", "/v3/channels/app", {}).json["tokens"])
        self.assertNotIn("tokens", self.ask("PUT", "/v3/channels/app", {"tokens": []}).json)
        self.assertEqual(Channel("app", "name"), self.registry.channel("app"))

    def test_flags(self) -> None:
        """They are replaced where they are given, shown where there are any."""
        for body, flags in (
            ({"flags": ["no_tail", "no_redis"]}, ["no_redis", "no_tail"]),
            ({"tokens": []}, ["no_redis", "no_tail"]),
            ({"flags": []}, None),
        ):
            answer = self.ask("PUT", "/v3/channels/app", body)
            self.assertEqual((200, flags), (answer.code, answer.json.get("flags")))

    def test_bad_flags(self) -> None:
        for flags in (["no_such"], "no_tail", [1], None):
            self.assertError(400, self.ask("PUT", "/v3/channels/app", {"flags": flags}))

    def test_put_array(self) -> None:
        answer = self.ask("PUT", "/v3/channels/app", [])
        self.assertAnswer(400, {"error": "invalid payload"}, answer)

    def test_delete(self) -> None:
        """With everything that belongs to it."""
        answer = self.ask("DELETE", "/v3/channels/app")
        self.assertEqual((204, b""), (answer.code, answer.body))
        left = [(Channel, "empty"), (Credential, "stored")]
        self.assertEqual(left, list(self.store.values))
        self.assertEqual(404, self.ask("DELETE", "/v3/channels/app").code)


class TokenTests(V3Case):
    """``POST /v3/channels/:id/tokens``"""

    def test_new(self) -> None:
        token = f"t.{UUID(int=1)}"
        answer = self.ask("POST", "/v3/channels/app/tokens", {"name": "web"})
        self.assertAnswer(200, {"token": token, "name": "web"}, answer)
        self.assertEqual({"web": token}, self.ask("GET", "/v3/channels/app").json["tokens"])
        self.assertEqual(Token(token, "app", "web", 1_000_000_000), self.registry.token(token))


class DrainTests(V3Case):
    """``/v3/channels/:id/drains``"""

    PATH = "/v3/channels/app/drains"

    def test_add(self) -> None:
        answer = self.ask("POST", self.PATH, {"url": "https://u:p@h/x?y#insecure"})
        drain = {"id": 4, "token": f"d.{UUID(int=1)}", "url": "https://u:p@h/x?y#insecure"}
        self.assertAnswer(201, drain, answer)
        self.assertEqual("http://v3/v3/channels/app/drains/4", answer.headers["location"])
        self.assertIn(drain, self.ask("GET", "/v3/channels/app").json["drains"])

    def test_escaped_location(self) -> None:
        self.put(Channel("#1"))
        answer = self.ask("POST", "/v3/channels/%231/drains", {})
        self.assertEqual("http://v3/v3/channels/%231/drains/4", answer.headers["location"])

    def test_reserve_and_move(self) -> None:
        """A reserved drain has a token, and gets its URL later."""
        answer = self.ask("POST", self.PATH, {})
        token = f"d.{UUID(int=1)}"
        self.assertAnswer(201, {"id": 4, "token": token}, answer)
        answer = self.ask("PUT", f"{self.PATH}/4", {"url": "http://h"})
        self.assertAnswer(200, {"id": 4, "token": token, "url": "http://h"}, answer)

    def test_move(self) -> None:
        answer = self.ask("PUT", f"{self.PATH}/1", {"url": "http://h9"})
        self.assertAnswer(200, {"id": 1, "token": "d.1", "url": "http://h9"}, answer)

    def test_already_there(self) -> None:
        """One receiver is in a channel once, however its URL is written."""
        for answer in (
            self.ask("POST", self.PATH, {"url": "http://h1"}),
            self.ask("POST", self.PATH, {"url": "HTTP://H1:80/"}),
            self.ask("POST", self.PATH, {"url": "http://h1/./"}),
            self.ask("PUT", f"{self.PATH}/3", {"url": "http://h1/a/.."}),
            self.ask("PUT", f"{self.PATH}/2", {"url": "http://h1"}),
            self.ask("PUT", f"{self.PATH}/3", {"url": "http://h1"}),
        ):
            self.assertAnswer(409, {"error": "already exists"}, answer)

    def test_too_many(self) -> None:
        """Six with URL; that is looked at before the URL, and for reservations too."""
        self.put(*(Drain(n, "app", f"d.{n}", f"http://h{n}") for n in range(4, 8)))
        for body in ({"url": "http://h1"}, {"url": "http://new"}, {}):
            answer = self.ask("POST", self.PATH, body)
            self.assertAnswer(422, {"error": "maximum number of drains reached"}, answer)

    def test_bad_url(self) -> None:
        """The answer says what is wrong with it."""
        for method, path in (("POST", self.PATH), ("PUT", f"{self.PATH}/1")):
            answer = self.ask(method, path, {"url": "ftp://h"})
            self.assertError(400, answer)
            self.assertIn("scheme", answer.json["error"])

    def test_unknown(self) -> None:
        """No such drain, or another channel's."""
        for path in (f"{self.PATH}/99", "/v3/channels/empty/drains/1"):
            self.assertError(404, self.ask("PUT", path, {"url": "http://h"}))
            self.assertError(404, self.ask("DELETE", path))
        self.assertIsNotNone(self.registry.drain(1))

    def test_delete(self) -> None:
        self.assertEqual(204, self.ask("DELETE", f"{self.PATH}/1").code)
        self.assertIsNone(self.registry.drain(1))


class DrainStatusTests(V3Case):
    """``…/drains/:drain`` and ``…/drains/:drain/test``"""

    def test_status(self) -> None:
        self.assertAnswer(
            200,
            {
                "id": 1,
                "token": "d.1",
                "url": "http://h1",
                "node": "node-1",
                "state": "connected",
                "received": 3,
                "delivered": 3,
                "dropped": 0,
                "buffered": 0,
                "guaranteed": 0,
                "buffered_beyond_bytes": 0,
                "oldest_buffered_s": None,
                "last_success": None,
                "last_error": None,
                "last_error_at": None,
                "since": None,
                "next_attempt": None,
            },
            self.ask("GET", "/v3/channels/app/drains/1"),
        )

    def test_durable(self) -> None:
        """The lag of a durable drain is shown."""
        self.drains.statuses[1] = DurableStatus("waiting", lag_messages=3, lag_bytes=90, lag_s=7.5)
        shown = self.ask("GET", "/v3/channels/app/drains/1").json
        names = ("lag_messages", "lag_bytes", "lag_s", "in_flight", "set_aside")
        self.assertEqual([shown[name] for name in names], [3, 90, 7.5, 0, 0])

    def test_test(self) -> None:
        answer = self.ask("POST", "/v3/channels/app/drains/1/test", {})
        result = {"delivered": True, "status": 204, "said": "", "error": None}
        self.assertAnswer(200, result, answer)

    def test_too_many(self) -> None:
        """The answer says after how many seconds there is room."""
        for _ in range(1_000):
            self.assertEqual(201, self.ask("POST", "/v3/sessions", {"channel_id": "app"}).code)
        self.clock.advance(10)
        answer = self.ask("POST", "/v3/sessions", {"channel_id": "app"})
        self.assertAnswer(429, {"error": "too many sessions of this channel"}, answer)
        self.assertEqual("350", answer.headers["retry-after"])
        answer = self.ask("POST", "/v3/sessions", {"channel_id": "empty"})
        self.assertEqual(201, answer.code)

    def test_end(self) -> None:
        """Also by a credential of the channel; what cannot be a session's id is unknown."""
        for unknown in (SESSION[:-1] + "0", "x", SESSION + ".owner"):
            answer = self.ask("DELETE", f"/v3/sessions/{unknown}", auth=basic("one"))
            self.assertAnswer(404, {"error": "session not found"}, answer)
        self.assertEqual(204, self.ask("DELETE", f"/v3/sessions/{SESSION}", auth=basic("one")).code)
        self.assertNotIn(SESSION, self.store.sessions)
        self.assertError(404, self.ask("DELETE", f"/v3/sessions/{SESSION}"))

    def test_end_while_sessions_are_denied(self) -> None:
        """The control rod is for new sessions."""
        self.rods.now = evolve(self.rods.now, deny_tail_sessions=True)
        self.assertEqual(204, self.ask("DELETE", f"/v3/sessions/{SESSION}").code)

    def test_denied(self) -> None:
        """A test message is a message to a drain."""
        self.rods.now = evolve(self.rods.now, deny_drain_forwarding=True)
        self.assertError(503, self.ask("POST", "/v3/channels/app/drains/1/test", {}))

    def test_unknown(self) -> None:
        """No such drain, another channel's, or one that is just going."""
        for path in (
            "/v3/channels/app/drains/99",
            "/v3/channels/empty/drains/1",
            "/v3/channels/none/drains/1",
        ):
            self.assertError(404, self.ask("GET", path))
            self.assertError(404, self.ask("POST", f"{path}/test", {}))
        self.assertError(404, self.ask("GET", "/v3/channels/app/drains/2"))


class LogsTests(V3Case):
    """``GET /v3/channels/:id/logs``"""

    def log(self, *texts: str) -> None:
        messages = [f"<13>1 2026-01-01T00:00:00Z host app web.1 - - {text}" for text in texts]
        self.spool.append("app", [each.encode() for each in messages])

    def texts(self, num: str) -> list[str]:
        answer = self.ask("GET", f"/v3/channels/app/logs{num}")
        lines = answer.text.splitlines()
        self.assertEqual(str(len(lines)), answer.headers["logplex-msg-count"])
        return [line.rpartition(" ")[2] for line in lines]

    def test_frames(self) -> None:
        """Every message in an octet-counted frame that ends in one LF."""
        self.log("a", "b\n")
        answer = self.ask("GET", "/v3/channels/app/logs")
        frame = "46 <13>1 2026-01-01T00:00:00Z host app web.1 - {}\n"
        self.assertEqual(frame.format("a") + frame.format("b"), answer.text)
        self.assertEqual(200, answer.code)
        self.assertEqual("application/logplex-1", answer.headers["content-type"])
        self.assertEqual("2", answer.headers["logplex-msg-count"])
        self.assertEqual("chunked", answer.headers["transfer-encoding"])

    def test_closes(self) -> None:
        """The connection ends with the answer."""
        answer = self.ask("GET", "/v3/channels/app/logs")
        self.assertEqual("close", answer.headers["connection"])
        self.assertTrue(answer.closed)

    def test_num(self) -> None:
        """The newest ones, exactly as many as are asked for, 100 by default."""
        self.log(*map(str, range(150)))
        for num, first in (("?num=3", 147), ("?num=0", 150), ("?num=200", 0), ("", 50)):
            self.assertEqual([str(n) for n in range(first, 150)], self.texts(num), num)

    def test_num_is_no_number(self) -> None:
        self.log(*map(str, range(150)))
        for num in ("?num=", "?num=x", "?num=-1", "?num=1.5", "?num=%D9%A1", "?num", "?n=1"):
            self.assertEqual(100, len(self.texts(num)), num)
        self.assertEqual(150, len(self.texts("?num=" + "9" * 9_000)))

    def test_unparsable(self) -> None:
        """Messages that cannot be shown are not counted."""
        self.log("a")
        self.spool.append("app", [b"<42> blafasel"])
        self.log("b")
        self.assertEqual(["a", "b"], self.texts("?num=2"))

    def test_one_channel(self) -> None:
        """A credential of one channel reads that one's."""
        self.assertEqual(200, self.ask("GET", "/v3/channels/app/logs", auth=basic("one")).code)
        answer = self.ask("GET", "/v3/channels/empty/logs", auth=basic("one"))
        self.assertError(401, answer)

    def test_spool_away(self) -> None:
        """It says so, or does not answer at all."""
        for recent in (fail(StoreAway("away")), Deferred()):
            self.patch(self.spool, "recent", lambda channel_id, recent=recent: recent)
            exchange = self.send("GET", "/v3/channels/app/logs")
            self.clock.advance(2)
            self.assertError(503, exchange.answer())


class TokensTests(V3Case):
    """``/v3/channels/:id/tokens``"""

    def test_list(self) -> None:
        """All of them, also those that a newer one of the same name hides elsewhere."""
        self.put(Token("t.undated", "app", "db"))
        tokens = [
            {"token": "t.undated", "name": "db"},
            {"token": "t.old", "name": "web", "created_at": 1e-06},
            {"token": "t.new", "name": "web", "created_at": 2e-06},
        ]
        self.assertAnswer(200, {"tokens": tokens}, self.ask("GET", "/v3/channels/app/tokens"))

    def test_list_none(self) -> None:
        self.assertAnswer(200, {"tokens": []}, self.ask("GET", "/v3/channels/empty/tokens"))

    def test_delete(self) -> None:
        """The token ends, and no other of its name."""
        self.assertEqual(204, self.ask("DELETE", "/v3/channels/app/tokens/t.old").code)
        self.assertEqual(["t.new"], [each.id for each in self.registry.tokens_of("app")])
        self.assertNotIn(b"t.old", self.registry.routes)
        answer = self.ask("DELETE", "/v3/channels/app/tokens/t.old")
        self.assertAnswer(404, {"error": "token not found"}, answer)

    def test_too_many(self) -> None:
        names = [f"n{n}" for n in range(1_000)]
        self.assertEqual(200, self.ask("PUT", "/v3/channels/app", {"tokens": names}).code)
        body = {"tokens": [*names, "more"]}
        answer = self.ask("PUT", "/v3/channels/app", body)
        self.assertAnswer(400, {"error": "a channel has at most 1000 tokens"}, answer)
        answer = self.ask("POST", "/v3/channels/app/tokens", {"name": "more"})
        self.assertAnswer(422, {"error": "maximum number of tokens reached"}, answer)

    def test_delete_of_another_channel(self) -> None:
        answer = self.ask("DELETE", "/v3/channels/empty/tokens/t.old")
        self.assertAnswer(404, {"error": "token not found"}, answer)
        self.assertIsNotNone(self.registry.token("t.old"))


class SessionTests(V3Case):
    """``POST /v3/sessions``"""

    def test_open(self) -> None:
        """The URL is on the other API, and is the right to read."""
        body = {"channel_id": "app", "num": "10", "tail": True, "source": None}
        answer = self.ask("POST", "/v3/sessions", body)
        url = f"http://api/sessions/{UUID(int=1)}"
        self.assertAnswer(201, {"url": url}, answer)
        self.assertEqual(url, answer.headers["location"])
        ends_at, kept = self.store.sessions[str(UUID(int=1))]
        self.assertEqual(1_000 + 360, ends_at)
        self.assertEqual(b'{"channel_id": "app", "num": "10", "tail": true, "source": null}', kept)

    def test_channel_twice(self) -> None:
        """Readers differ in which of the two they would take."""
        body = b'{"channel_id": "app", "channel_id": "empty"}'
        self.assertError(400, self.ask("POST", "/v3/sessions", body))
        self.assertEqual([SESSION], list(self.store.sessions))

    def test_without_channel(self) -> None:
        answer = self.ask("POST", "/v3/sessions", {"num": "10"})
        self.assertAnswer(400, {"error": "'channel_id' missing"}, answer)

    def test_unknown_channel(self) -> None:
        answer = self.ask("POST", "/v3/sessions", {"channel_id": "none"})
        self.assertAnswer(422, {"error": "channel not found"}, answer)

    def test_denied(self) -> None:
        """The control rod comes before authentication."""
        self.rods.now = evolve(self.rods.now, deny_tail_sessions=True)
        self.assertError(503, self.ask("POST", "/v3/sessions", {}, auth=None))

    def test_one_channel(self) -> None:
        """A credential of one channel opens sessions on that one only."""
        for channel_id, code in (("app", 201), ("empty", 403), ("none", 403)):
            answer = self.ask("POST", "/v3/sessions", {"channel_id": channel_id}, basic("one"))
            self.assertEqual(code, answer.code)


class BugTests(V3Case):
    """A bug of ours is answered and logged."""

    def test_no_traceback(self) -> None:
        """The client is told nothing of it, the log all."""

        def broken(channel_id: str) -> object:
            raise RuntimeError("secret")

        self.patch(self.registry, "drains_of", broken)
        answer = self.send("GET", "/v3/channels/app").answer()
        self.assertEqual((500, {"error": "internal error"}), (answer.code, answer.json))
        errors: list[Failure] = self.flushLoggedErrors(RuntimeError)
        self.assertEqual(1, len(errors))
