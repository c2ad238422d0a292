# SPDX-License-Identifier: Apache-2.0

"""The routes of API v3 for operators."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionLost
from twisted.python.failure import Failure

from logplex import __version__
from logplex.interfaces import Step, StoreAway
from tests.doubles.api import AUTH_KEY, V3Case, basic


class HealthTests(V3Case):
    """``GET /v3/health``"""

    def test_well(self) -> None:
        self.assertAnswer(
            200,
            {
                "status": "ok",
                "troubles": [],
                "node": "node-1",
                "version": __version__,
                "uptime_s": 100.0,
                "known": {"channel": 2, "token": 2, "drain": 3, "credential": 1},
                "rods": self.rods.now.positions(),
                "listeners": ["tcp:1"],
            },
            self.ask("GET", "/v3/health"),
        )

    def test_troubled(self) -> None:
        self.troubles.append("shard 1 is away")
        health = self.ask("GET", "/v3/health").json
        self.assertEqual(("troubled", ["shard 1 is away"]), (health["status"], health["troubles"]))


class StartingTests(V3Case):
    """``GET /v3/health`` while the configuration is not loaded."""

    def setUp(self) -> None:
        super().setUp()
        self.registry.ready = False
        self.troubles.append("Redis is away")

    def test_troubles(self) -> None:
        """A caller of the settings file is told what the node waits for."""
        for auth in (basic("full"), f"Basic {AUTH_KEY}"):
            answer = self.ask("GET", "/v3/health", auth=auth)
            self.assertEqual(
                (200, "troubled", ["the configuration has not been loaded yet", "Redis is away"]),
                (answer.code, answer.json["status"], answer.json["troubles"]),
            )

    def test_not_known(self) -> None:
        """Anybody else may be in what has not been loaded."""
        for auth in (basic("other"), basic("full", "x"), None):
            self.assertAnswer(
                503, {"error": "the node is starting"}, self.ask("GET", "/v3/health", auth=auth)
            )
        self.assertError(401, self.ask("GET", "/v3/health", auth=basic("one")))

    def test_guessing(self) -> None:
        """It is as slow as at other times."""
        for _ in range(10):
            self.ask("GET", "/v3/health", auth=basic("full", "x"))
        eleventh = self.send("GET", "/v3/health", auth=basic("full", "x"))
        self.assertFalse(eleventh.is_answered)
        self.clock.advance(1)
        self.assertError(503, eleventh.answer())

    def test_disabled(self) -> None:
        self.rods.now = evolve(self.rods.now, api_status="disabled")
        self.assertError(503, self.ask("GET", "/v3/health"))


class RodTests(V3Case):
    """``/v3/rods``"""

    def throw(self, scope: str = "node", **rods: object) -> object:
        answer = self.ask("PUT", "/v3/rods", {"rods": rods, "scope": scope})
        self.assertEqual(200, answer.code)
        return answer.json

    def test_show(self) -> None:
        shown = {"rods": self.rods.now.positions(), "thrown": {}, "shared": {}}
        self.assertAnswer(200, shown, self.ask("GET", "/v3/rods"))

    def test_throw(self) -> None:
        """It stands so at once, and what was not named stays."""
        self.throw(deny_tail_sessions=True)
        self.assertEqual(
            {
                "rods": {
                    **self.rods.now.positions(),
                    "deny_tail_sessions": True,
                    "deny_logs_ingress": True,
                },
                "thrown": {"deny_tail_sessions": True, "deny_logs_ingress": True},
                "shared": {},
            },
            self.throw(deny_logs_ingress=True),
        )
        self.assertError(503, self.ask("POST", "/v3/sessions", {}))

    def test_scopes(self) -> None:
        """Thrown here it wins over what was thrown for all, until it is taken back."""
        self.throw("cluster", legacy_api_status="disabled")
        self.throw(legacy_api_status="normal")
        self.assertEqual("normal", self.rods.now.legacy_api_status)
        self.throw(legacy_api_status=None)
        self.assertEqual("disabled", self.rods.now.legacy_api_status)

    def test_disabled_api(self) -> None:
        """A disabled API can be switched back."""
        self.throw(api_status="disabled")
        self.assertError(503, self.ask("GET", "/v3/health"))
        self.throw(api_status=None)
        self.assertEqual(200, self.ask("GET", "/v3/health").code)

    def test_wrong_one_changes_nothing(self) -> None:
        """One wrong rod, and none is thrown."""
        rods = {"deny_tail_sessions": True, "deny_everything": True}
        self.assertError(400, self.ask("PUT", "/v3/rods", {"rods": rods}))
        self.assertFalse(self.rods.now.deny_tail_sessions)


class TailTests(V3Case):
    """``DELETE /v3/tails``"""

    def test_end(self) -> None:
        self.assertEqual(204, self.ask("DELETE", "/v3/tails").code)
        self.assertEqual(["tails"], self.ended)


class ShardTests(V3Case):
    """``/v3/shards``"""

    def step(self, step: str, **more: object) -> object:
        return self.ask("POST", "/v3/shards", {"step": step, **more}).json

    def test_steps(self) -> None:
        for step, reached in (("commit", "committed"), ("make_permanent", "settled")):
            if step == "commit":
                self.assertEqual({"step": "prepared"}, self.step("prepare", urls=["redis://a"]))
            self.assertEqual({"step": reached}, self.step(step))
            self.assertAnswer(200, {"step": reached}, self.ask("GET", "/v3/shards"))

    def test_abort(self) -> None:
        self.step("prepare", urls=["redis://a"])
        self.assertEqual({"step": "settled"}, self.step("abort"))

    def leave(self) -> Deferred[None]:
        """A client leaves while new shards are waited for; the waiting."""
        assert self.replacement is not None
        waiting = self.replacement.held = Deferred()
        body = {"step": "prepare", "urls": ["redis://a"]}
        self.send("POST", "/v3/shards", body).lose(Failure(ConnectionLost()))
        return waiting

    def test_client_left(self) -> None:
        """A step that was begun goes on to its end."""
        self.leave().callback(None)
        self.assertAnswer(200, {"step": "prepared"}, self.ask("GET", "/v3/shards"))

    def test_client_left_and_failed(self) -> None:
        """That is not a bug, and is not logged as one."""
        self.leave().errback(StoreAway("not there in time: a"))
        self.assertAnswer(200, {"step": "settled"}, self.ask("GET", "/v3/shards"))

    def test_wrong_step(self) -> None:
        """The answer says where it stands."""
        answer = self.ask("POST", "/v3/shards", {"step": "commit"})
        self.assertAnswer(409, {"error": "it is at the step 'settled'"}, answer)

    def test_shard_away(self) -> None:
        """So does one about a shard that is not there."""
        assert self.replacement is not None
        self.replacement.away = True
        answer = self.ask("POST", "/v3/shards", {"step": "prepare", "urls": ["redis://a"]})
        self.assertAnswer(503, {"error": "not there in time: a"}, answer)

    def test_which_shards_are_away(self) -> None:
        """Steps can be taken all the same; the answer says it as long as it is so."""
        assert self.replacement is not None
        missing = self.replacement.missing = ["shard a is away"]
        expected = {"step": "prepared", "troubles": missing}
        self.assertEqual(expected, self.step("prepare", urls=["redis://a"]))
        self.assertAnswer(200, expected, self.ask("GET", "/v3/shards"))

    def test_bad_ring(self) -> None:
        answer = self.ask("POST", "/v3/shards", {"step": "prepare", "urls": ["x"]})
        self.assertAnswer(400, {"error": "no ring"}, answer)
        assert self.replacement is not None
        self.assertIs(Step.SETTLED, self.replacement.step)


class AloneTests(V3Case):
    """A node that is not part of a cluster."""

    in_cluster = False

    def test_no_shards(self) -> None:
        error = {"error": "this node's store has no shards"}
        self.assertAnswer(422, error, self.ask("GET", "/v3/shards"))
        self.assertAnswer(422, error, self.ask("POST", "/v3/shards", {"step": "commit"}))

    def test_no_scope(self) -> None:
        answer = self.ask("PUT", "/v3/rods", {"rods": {}, "scope": "cluster"})
        self.assertAnswer(422, {"error": "this node is not part of a cluster"}, answer)
