# SPDX-License-Identifier: Apache-2.0

"""Credentials through API v3."""

from __future__ import annotations

from typing import Any

from logplex.model.values import ANY_CHANNEL, Credential
from tests.doubles.api import V3Case, basic


class CredentialCase(V3Case):
    """The credentials of the store."""

    def create(self, **body: Any) -> Any:
        """The answer to a creation, in JSON."""
        answer = self.ask("POST", "/v3/credentials", body)
        self.assertEqual(201, answer.code)
        return answer.json

    def code_for(self, id: str, password: str, path: str = "/v3/credentials") -> int:
        return self.ask("GET", path, auth=basic(id, password)).code


class ListTests(CredentialCase):
    """``GET /v3/credentials``"""

    def test_all(self) -> None:
        """Those of the store and those of the file, without secrets."""
        answer = self.ask("GET", "/v3/credentials")
        self.assertNotIn("secret", answer.text)
        self.assertEqual(
            [
                ("any", ["any_channel"], "file"),
                ("full", ["full_api"], "file"),
                ("one", ["channel:app"], "file"),
                ("stored", ["full_api", "channel:app"], "store"),
            ],
            [
                (each["id"], each["permissions"], each["kept_in"])
                for each in answer.json["credentials"]
            ],
        )

    def test_one(self) -> None:
        answer = self.ask("GET", "/v3/credentials/stored")
        shown = {
            "id": "stored",
            "name": "the operators",
            "permissions": ["full_api", "channel:app"],
            "kept_in": "store",
        }
        self.assertAnswer(200, shown, answer)


class CreateTests(CredentialCase):
    """``POST /v3/credentials``"""

    def test_works_at_once(self) -> None:
        """The password that is shown is the one to use; it is kept as a hash."""
        made = self.create(id="new", name="mine", permissions=["full_api", "any_channel"])
        self.assertEqual(200, self.code_for("new", made["password"]))
        kept = self.registry.credential("new")
        assert kept is not None
        self.assertEqual(("mine", True, ANY_CHANNEL), (kept.name, kept.full_api, kept.channel))
        self.assertTrue(kept.secret.startswith("sha256$"))
        self.assertNotIn(made["password"], kept.secret)

    def test_location(self) -> None:
        answer = self.ask("POST", "/v3/credentials", {"id": "#1"})
        self.assertEqual("http://v3/v3/credentials/%231", answer.headers["location"])
        self.assertEqual(200, self.ask("GET", "/v3/credentials/%231").code)

    def test_without_id(self) -> None:
        """It gets a random one, and may do nothing."""
        first, second = self.create(), self.create()
        self.assertNotEqual(first["id"], second["id"])
        self.assertEqual([], first["permissions"])
        self.assertEqual(401, self.code_for(first["id"], first["password"]))

    def test_one_channel(self) -> None:
        """It reads that channel's logs, and nothing else."""
        made = self.create(permissions=["channel:app"])
        for path, code in (
            ("/v3/channels/app/logs", 200),
            ("/v3/channels/empty/logs", 401),
            ("/v3/channels/app", 401),
            ("/v3/credentials", 401),
        ):
            self.assertEqual(code, self.code_for(made["id"], made["password"], path))

    def test_unknown_channel(self) -> None:
        answer = self.ask("POST", "/v3/credentials", {"permissions": ["channel:none"]})
        self.assertAnswer(422, {"error": "channel not found"}, answer)

    def test_taken(self) -> None:
        """By the store's, by the file's, or for something else."""
        for id, code in (("stored", 409), ("full", 409), ("token", 400), ("auth_key", 400)):
            self.assertError(code, self.ask("POST", "/v3/credentials", {"id": id}))

    def test_at_once(self) -> None:
        """Of two that come together only one makes it."""
        self.store.held = []
        first, second = (self.send("POST", "/v3/credentials", {"id": "new"}) for _ in range(2))
        while self.store.held:
            self.store.held.pop().callback(None)
        self.assertEqual([201, 409], [first.answer().code, second.answer().code])

    def test_too_slow(self) -> None:
        """A request that waited too long for the others gets an answer, and changes nothing."""
        self.store.held = []
        first, second = (self.send("POST", "/v3/credentials", {"id": id}) for id in "ab")
        self.clock.advance(2)
        self.assertEqual([503, 503], [first.answer().code, second.answer().code])
        self.store.held = None
        self.assertEqual(404, self.ask("GET", "/v3/credentials/b").code)


class PlainTests(CredentialCase):
    """Passwords that Erlang nodes have to read."""

    plain_passwords = True

    def test_kept_plain(self) -> None:
        made = self.create(id="new")
        self.assertEqual(Credential("new", made["password"]), self.registry.credential("new"))


class ChangeTests(CredentialCase):
    """New passwords, and the end of a credential."""

    def test_rotate(self) -> None:
        """The old password ends, the permissions stay."""
        answer = self.ask("POST", "/v3/credentials/stored/password", {})
        self.assertEqual(["full_api", "channel:app"], answer.json["permissions"])
        self.assertEqual(401, self.code_for("stored", "secret"))
        self.assertEqual(200, self.code_for("stored", answer.json["password"]))

    def test_delete(self) -> None:
        self.assertEqual(200, self.code_for("stored", "secret"))
        self.assertEqual(204, self.ask("DELETE", "/v3/credentials/stored").code)
        self.assertEqual(401, self.code_for("stored", "secret"))

    def test_in_file(self) -> None:
        """Credentials of the file stay as they are."""
        for answer in (
            self.ask("DELETE", "/v3/credentials/full"),
            self.ask("POST", "/v3/credentials/full/password", {}),
        ):
            self.assertError(409, answer)

    def test_unknown(self) -> None:
        for answer in (
            self.ask("GET", "/v3/credentials/none"),
            self.ask("DELETE", "/v3/credentials/none"),
            self.ask("POST", "/v3/credentials/none/password", {}),
        ):
            self.assertError(404, answer)
