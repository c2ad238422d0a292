# SPDX-License-Identifier: Apache-2.0

"""The whole configuration through API v3."""

from __future__ import annotations

from logplex.model.export import export_values
from logplex.model.values import Channel, Credential, Drain, Token, Value
from tests.doubles.api import APP, V3Case


class ConfigurationTests(V3Case):
    def test_export(self) -> None:
        """Everything, with the secrets as they are kept."""
        answer = self.ask("GET", "/v3/configuration")
        self.assertAnswer(200, export_values(APP), answer)

    def test_large_export(self) -> None:
        """Other things are done meanwhile; what is exported is what there was at the beginning."""
        self.put(*(Channel(f"c{n}") for n in range(2_000)))
        before = export_values(self.registry.values())
        exchange = self.send("GET", "/v3/configuration")
        self.assertFalse(exchange.is_answered)
        self.put(Channel("later"))
        self.clock.pump([0] * 10)
        self.assertAnswer(200, before, exchange.answer())

    def test_import(self) -> None:
        """Values of the same id are replaced, the rest stays."""
        values: list[Value] = [
            Channel("app", "renamed"),
            Token("t.new", "app", "worker", 2),
            Drain(9, "app", "d.9", "http://h9"),
            Credential("stored", "other", full_api=True),
        ]
        answer = self.ask("POST", "/v3/configuration", export_values(values))
        self.assertAnswer(200, {"channels": 1, "tokens": 1, "drains": 1, "credentials": 1}, answer)
        for value in values:
            self.assertIn(value, self.registry.values())
        self.assertIsNotNone(self.registry.token("t.old"))
        self.assertEqual(401, self.ask("GET", "/v3/rods", auth="Basic c3RvcmVkOnNlY3JldA==").code)

    def test_export_of_an_import(self) -> None:
        """A backup that is restored changes nothing."""
        backup = self.ask("GET", "/v3/configuration").json
        self.assertEqual(200, self.ask("POST", "/v3/configuration", backup).code)
        self.assertAnswer(200, backup, self.ask("GET", "/v3/configuration"))

    def test_ids_go_on(self) -> None:
        """A new drain does not get the id of an imported one."""
        drain = Drain(9, "empty", "d.9", "http://h9")
        self.ask("POST", "/v3/configuration", export_values([drain]))
        self.assertEqual(10, self.ask("POST", "/v3/channels/app/drains", {}).json["id"])

    def test_as_other_routes(self) -> None:
        """A value that the other routes would refuse is refused, by its place; nothing is put."""
        good = Channel("new")
        for values, why in (
            ([Token("t.1", "none", "a")], "tokens[0]: there is no such channel"),
            (
                [Token("t.1", "new", "a"), Token("t.2", "new", "a b")],
                "tokens[1]: a token's name has 1 to 48 printable ASCII characters, and no space",
            ),
            ([Drain(9, "none", "d.9", "http://h")], "drains[0]: there is no such channel"),
            ([Drain(0, "new", "d.0", "http://h")], "drains[0]: the id of a drain is at least 1"),
            (
                [Drain(9, "new", "d.9", "ftp://user:secret@h")],
                "drains[0]: the scheme must be one of ",
            ),
            (
                [Drain(9, "app", "d.9", "http://H1:80")],
                "channel app: two of its drains have one receiver",
            ),
            (
                [Drain(n, "new", f"d.{n}", f"http://h{n}") for n in range(1, 8)],
                "channel new: a channel has at most 6 drains",
            ),
            (
                [Token(f"t.{n}", "new", "a") for n in range(1_001)],
                "channel new: a channel has at most 1000 tokens",
            ),
            (
                [Drain(9, "new", "d.9", "http://h", durable=True)],
                "drains[0]: this node has no journal",
            ),
            ([Credential("token", "x")], "credentials[0]: no credential can have this id"),
            (
                [Credential("x", "x", "x" * 129)],
                "credentials[0]: the name is too long, or cannot be printed",
            ),
            (
                [Credential("x", "x", channel="none")],
                "credentials[0]: there is no such channel",
            ),
        ):
            answer = self.ask("POST", "/v3/configuration", export_values([good, *values]))
            self.assertError(400, answer)
            self.assertTrue(answer.json["error"].startswith(why), answer.json)
            self.assertNotIn("secret", answer.text)
            self.assertIsNone(self.registry.channel("new"))

    def test_at_the_bounds(self) -> None:
        values: list[Value] = [Channel("new")]
        values += [Drain(n, "new", f"d.{n}", f"http://h{n}") for n in range(11, 17)]
        values += [Drain(17, "new", "d.17")]
        values += [Token(f"t.{n}", "new", "a") for n in range(1_000)]
        values += [Credential("x", "x", "x" * 128, channel="new")]
        for _ in range(2):
            answer = self.ask("POST", "/v3/configuration", export_values(values))
            self.assertEqual(200, answer.code)

    def test_bad(self) -> None:
        """The answer says where it is wrong, and nothing is changed."""
        body = {"channels": [{"id": "x", "name": "", "flags": []}, {"id": "a/b"}]}
        answer = self.ask("POST", "/v3/configuration", body)
        self.assertAnswer(400, {"error": "channels[1]: 'id' is missing or wrong"}, answer)
        self.assertIsNone(self.registry.channel("x"))
