# SPDX-License-Identifier: Apache-2.0

"""``logplex channel``, ``token`` and ``drain``."""

from __future__ import annotations

from logplex.interfaces import DrainStatus
from logplex.model.values import NO_TAIL, Drain
from tests.doubles.commands import CliCase


def counted(received: int, delivered: int, dropped: int, buffered: int) -> str:
    """Return the counts of a drain as a line shows them."""
    return f"received {received}  delivered {delivered}  dropped {dropped}  buffered {buffered}"


class ChannelTests(CliCase):
    """``logplex channel``"""

    def names(self, channel_id: str) -> list[str]:
        return [token.name for token in self.registry.tokens_of(channel_id)]

    def test_create(self) -> None:
        lines = self.lines("channel", "create", "shop", "--token", "app", "--flag", "no_tail")
        self.assertEqual(["channel  shop", "flags    no_tail"], lines[:2])
        self.assertRegex(lines[2], r"^token    app  t\.[-0-9a-f]{36}$")
        channel = self.registry.channel("shop")
        assert channel is not None
        self.assertEqual(frozenset({NO_TAIL}), channel.flags)

    def test_create_keeps_tokens(self) -> None:
        """Existing tokens stay, although the API takes the whole set."""
        before = set(self.registry.tokens_of("app"))
        self.lines("channel", "create", "app", "--token", "cron")
        self.assertEqual(["web", "web", "cron"], self.names("app"))
        self.assertLess(before, set(self.registry.tokens_of("app")))

    def test_show(self) -> None:
        self.assertEqual(
            [
                "channel  app",
                "token    web  t.new",
                "drain    1  d.1  http://h1",
                "drain    2  d.2  http://h2",
            ],
            self.lines("channel", "show", "app"),
        )

    def test_show_json(self) -> None:
        shown = self.json("channel", "show", "app")
        self.assertEqual(
            ("app", {"web": "t.new"}, 1),
            (shown["channel"], shown["tokens"], shown["drains"][0]["id"]),
        )

    def test_show_unknown(self) -> None:
        self.assertFails(4, "channel not found", self.run_command("channel", "show", "none"))

    def test_flags(self) -> None:
        """Flags that are not named are cleared."""
        for flags in (["no_redis", "no_tail"], ["no_tail"], []):
            self.lines("channel", "flags", "app", *flags)
            channel = self.registry.channel("app")
            assert channel is not None
            self.assertEqual(set(flags), channel.flags)

    def test_flags_of_unknown(self) -> None:
        """Setting flags does not create a channel."""
        result = self.run_command("channel", "flags", "none", "no_tail")
        self.assertFails(4, "channel not found", result)
        self.assertIsNone(self.registry.channel("none"))

    def test_activity(self) -> None:
        counts = self.activity("app")
        assert counts is not None
        counts.received = 12
        counts.drop("no_head", 2)
        counts.refuse(413, "body_too_large")
        self.drains.statuses[2] = DrainStatus("waiting", 9, 1, 3, 5, last_error="it answered 503")
        self.assertEqual(
            [
                "channel   app at node-1",
                "received  12",
                "dropped   2  no_head",
                "refused   1  413 body_too_large",
                "tails     2",
                f"drain     1  http://h1:80  connected  {counted(3, 3, 0, 0)}",
                f"drain     2  http://h2:80  waiting    {counted(9, 1, 3, 5)}  it answered 503",
                f"drain     3  (reserved)               {counted(0, 0, 0, 0)}",
            ],
            self.lines("channel", "activity", "app"),
        )
        self.assertEqual(12, self.json("channel", "activity", "app")["received"])

    def test_delete(self) -> None:
        self.assertEqual(["deleted app"], self.lines("channel", "delete", "app"))
        self.assertIsNone(self.registry.channel("app"))

    def test_strange_id(self) -> None:
        """An id may contain characters that have a meaning in URLs."""
        self.lines("channel", "create", "a?b#c%d")
        self.assertEqual({"channel": "a?b#c%d"}, self.json("channel", "show", "a?b#c%d"))


class TokenTests(CliCase):
    """``logplex token``"""

    def test_add(self) -> None:
        (added,) = self.lines("token", "add", "app", "web")
        self.assertEqual(added, self.registry.tokens_of("app")[-1].id)
        self.assertEqual(3, len(self.registry.tokens_of("app")))

    def test_list(self) -> None:
        """All of a name are shown, the newest last."""
        self.assertEqual(["web  t.old", "web  t.new"], self.lines("token", "list", "app"))
        self.assertEqual(
            ["t.old", "t.new"], [e["token"] for e in self.json("token", "list", "app")]
        )
        self.assertEqual([], self.lines("token", "list", "empty"))

    def test_delete_one(self) -> None:
        """The old token of a name goes after a rotation, the new one stays."""
        self.assertEqual(["deleted t.old"], self.lines("token", "delete", "app", "t.old"))
        self.assertEqual(["t.new"], [each.id for each in self.registry.tokens_of("app")])

    def test_delete(self) -> None:
        """All tokens of the name are deleted, and no others."""
        self.lines("token", "add", "app", "cron")
        self.lines("token", "delete", "app", "web")
        self.assertEqual(["cron"], [each.name for each in self.registry.tokens_of("app")])

    def test_delete_unknown(self) -> None:
        result = self.run_command("token", "delete", "app", "none")
        self.assertFails(4, "token not found", result)


class DrainTests(CliCase):
    """``logplex drain``"""

    def test_add(self) -> None:
        """The user and password of a URL are shown in JSON only."""
        (line,) = self.lines("drain", "add", "empty", "https://user:pass@h/x")
        self.assertRegex(line, r"^4  d\.[-0-9a-f]{36}  https://…@h/x$")
        self.assertEqual("https://user:pass@h/x", self.json("drain", "list", "empty")[0]["url"])

    def test_durable(self) -> None:
        """It is said of those that are."""
        self.put(Drain(9, "app", "d.9", "http://h9", durable=True))
        self.assertEqual(
            ["1  d.1  http://h1", "2  d.2  http://h2", "9  d.9  http://h9  durable"],
            self.lines("drain", "list", "app"),
        )

    def test_reserve_and_move(self) -> None:
        (line,) = self.lines("drain", "add", "empty")
        self.assertTrue(line.endswith("(reserved)"), line)
        self.assertEqual([], self.lines("drain", "list", "empty"))
        self.lines("drain", "move", "empty", "4", "http://h4")
        self.assertEqual("http://h4", self.json("drain", "list", "empty")[0]["url"])

    def test_durable_without_a_journal(self) -> None:
        why = "no drain can be durable: [journal] file is empty"
        added = self.run_command("drain", "add", "--durable", "empty", "http://h")
        self.assertFails(1, why, added)
        self.assertFails(1, why, self.run_command("drain", "move", "app", "1", "--durable"))
        self.lines("drain", "move", "app", "1", "--ordinary")

    def test_move_to_nothing(self) -> None:
        result = self.run_command("drain", "move", "app", "1")
        self.assertIn("give a URL, --durable or --ordinary", result.output)

    def test_delete(self) -> None:
        self.assertEqual(["deleted 1"], self.lines("drain", "delete", "app", "1"))
        self.assertIsNone(self.registry.drain(1))

    def test_refused(self) -> None:
        """The error is the text of the node."""
        result = self.run_command("drain", "add", "app", "http://h1")
        self.assertFails(1, "already exists", result)
        result = self.run_command("drain", "add", "empty", "ftp://user:pass@h")
        self.assertEqual(1, result.exit_code)
        self.assertNotIn("pass", result.output)
