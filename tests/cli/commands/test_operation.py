# SPDX-License-Identifier: Apache-2.0

"""``logplex health``, ``rod``, ``shards``, and what drains say of themselves."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from logplex.interfaces import DrainStatus, DrainTest
from logplex.model.rods import Rods
from tests.doubles.commands import CliCase


class HealthTests(CliCase):
    """``logplex health``"""

    def test_well(self) -> None:
        lines = self.lines("health")
        self.assertRegex("\n".join(lines), r"(?m)^status +ok$")
        self.assertRegex("\n".join(lines), r"(?m)^rods\.deny_tail_sessions +false$")
        self.assertRegex("\n".join(lines), r"(?m)^listeners +tcp:1$")

    def test_troubled(self) -> None:
        self.troubles.append("the store is away")
        result = self.run_command("health", "--json")
        self.assertEqual(5, result.exit_code)
        self.assertEqual("logplex: troubled: the store is away\n", result.stderr)
        self.assertIn('"status": "troubled"', result.stdout)


class RodTests(CliCase):
    """``logplex rod``"""

    def test_set_and_reset(self) -> None:
        lines = self.lines("rod", "set", "deny_tail_sessions=true", "legacy_api_status=read_only")
        self.assertEqual(
            (True, "read_only"), (self.rods.now.deny_tail_sessions, self.rods.now.legacy_api_status)
        )
        self.assertRegex("\n".join(lines), r"(?m)^deny_tail_sessions +true +\(node\)$")
        self.lines("rod", "reset", "deny_tail_sessions")
        self.assertEqual(
            (False, "read_only"),
            (self.rods.now.deny_tail_sessions, self.rods.now.legacy_api_status),
        )
        self.lines("rod", "reset")
        self.assertEqual(Rods(), self.rods.now)

    def test_cluster(self) -> None:
        self.lines("rod", "set", "disable_firehose=true", "--cluster")
        self.assertEqual({"disable_firehose": True}, self.panel.shared)
        shown = "\n".join(self.lines("rod", "show"))
        self.assertRegex(shown, r"(?m)^disable_firehose +true +\(cluster\)$")
        self.lines("rod", "reset", "disable_firehose", "--cluster")
        self.assertEqual({}, self.panel.shared)

    def test_disabled(self) -> None:
        """A command can enable the API after it was disabled."""
        self.lines("rod", "set", "api_status=disabled")
        self.assertEqual(3, self.run_command("channel", "show", "app").exit_code)
        self.lines("rod", "set", "api_status=normal")
        self.assertEqual(0, self.run_command("channel", "show", "app").exit_code)

    def test_wrong(self) -> None:
        """No request is sent."""
        for throw in ("none=true", "deny_tail_sessions", "api_status=off", "deny_tail_sessions=1"):
            self.assertEqual(2, self.run_command("rod", "set", throw).exit_code, throw)
        self.assertEqual(0, self.net.asked)

    def test_end_tails(self) -> None:
        self.lines("rod", "end-tails")
        self.assertEqual(["tails"], self.ended)


class ShardTests(CliCase):
    """``logplex shards``"""

    def test_steps(self) -> None:
        for command, step in (
            (["show"], "settled"),
            (["prepare", "redis://a", "redis://b"], "prepared"),
            (["abort"], "settled"),
            (["prepare", "redis://c"], "prepared"),
            (["commit"], "committed"),
            (["make-permanent"], "settled"),
        ):
            self.assertEqual([step], self.lines("shards", *command))
        assert self.replacement is not None
        self.assertEqual(["redis://c"], self.replacement.urls)

    def test_which_shards_are_away(self) -> None:
        assert self.replacement is not None
        self.replacement.missing = ["shard a is away"]
        self.assertEqual(["settled", "shard a is away"], self.lines("shards", "show"))

    def test_urls_from_the_environment(self) -> None:
        environ = {"LOGPLEX_SHARD_URLS": "redis://a,redis://b"}
        result = self.run_command("shards", "prepare", environ=environ)
        assert self.replacement is not None
        self.assertEqual(0, result.exit_code, result.output)
        self.assertEqual(["redis://a", "redis://b"], self.replacement.urls)

    def test_without_urls(self) -> None:
        self.assertEqual(2, self.run_command("shards", "prepare").exit_code)

    def test_wrong_step(self) -> None:
        self.assertEqual(1, self.run_command("shards", "commit").exit_code)


class DrainTests(CliCase):
    """``logplex drain status`` and ``test``"""

    def test_status(self) -> None:
        self.drains.statuses[1] = DrainStatus(
            "connected", received=3, delivered=3, last_success=1_000.0
        )
        lines = "\n".join(self.lines("drain", "status", "app", "1"))
        self.assertRegex(lines, r"(?m)^state +connected$")
        self.assertRegex(lines, r"(?m)^last_success +1970-01-01T00:16:40\+00:00$")
        self.assertRegex(lines, r"(?m)^last_error +-$")

    def test_delivered(self) -> None:
        self.assertEqual(["delivered", "status 204"], self.lines("drain", "test", "app", "1"))

    def test_not_delivered(self) -> None:
        """The answer of the receiver is made harmless for a terminal."""

        def test(drain_id: int) -> Deferred[DrainTest]:
            return succeed(DrainTest(False, 403, "go\x1b]0;x\x07", "the receiver refused it"))

        self.patch(type(self.drains), "test", lambda _, drain_id: test(drain_id))
        result = self.run_command("drain", "test", "app", "1")
        self.assertEqual(5, result.exit_code)
        self.assertEqual("logplex: not delivered: the receiver refused it\n", result.stderr)
        self.assertNotIn("\x1b]", result.stdout)

    def test_unknown(self) -> None:
        for command in ("status", "test"):
            result = self.run_command("drain", command, "app", "99")
            self.assertFails(4, "drain not found", result)
