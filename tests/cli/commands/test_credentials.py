# SPDX-License-Identifier: Apache-2.0

"""``logplex credential`` against a node."""

from __future__ import annotations

from logplex.access.credentials import secret_matches
from tests.doubles.commands import CREDENTIAL, CliCase


class CredentialTests(CliCase):
    """The commands that need a running node."""

    def secret(self, id: str) -> str:
        kept = self.registry.credential(id)
        assert kept is not None
        return kept.secret

    def test_create(self) -> None:
        """The output can be used as --credential."""
        (made,) = self.lines("credential", "create", "alice", "--permission", "full_api")
        self.assertTrue(made.startswith("alice:"))
        result = self.run_command("channel", "show", "app", credential=made)
        self.assertEqual(0, result.exit_code, result.output)

    def test_create_without_id(self) -> None:
        made = self.json("credential", "create", "--permission", "channel:app")
        self.assertEqual(["channel:app"], made["permissions"])
        self.assertTrue(secret_matches(self.secret(made["id"]), made["password"]))

    def test_create_what_exists(self) -> None:
        self.assertFails(1, "already exists", self.run_command("credential", "create", "stored"))

    def test_wrong(self) -> None:
        """No request is sent."""
        for arguments in (
            ["a:b"],
            ["token"],
            ["a", "--permission", "everything"],
            ["a", "--permission", "channel:"],
            ["a", "--plain"],
        ):
            result = self.run_command("credential", "create", *arguments)
            self.assertEqual(2, result.exit_code, arguments)
        self.assertEqual(0, self.net.asked)

    def test_list(self) -> None:
        lines = self.lines("credential", "list")
        self.assertIn("stored  full_api channel:app  store  the operators", lines)
        self.assertNotIn(CREDENTIAL.partition(":")[2], "\n".join(lines))

    def test_rotate(self) -> None:
        (rotated,) = self.lines("credential", "rotate", "stored")
        id, _, password = rotated.partition(":")
        self.assertEqual("stored", id)
        self.assertTrue(secret_matches(self.secret("stored"), password))

    def test_delete(self) -> None:
        self.lines("credential", "delete", "stored")
        self.assertIsNone(self.registry.credential("stored"))
        result = self.run_command("credential", "delete", "stored")
        self.assertFails(4, "credential not found", result)
