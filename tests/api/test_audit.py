# SPDX-License-Identifier: Apache-2.0

"""The lines in the log about requests."""

from __future__ import annotations

from collections.abc import Callable
from uuid import UUID

from twisted.internet.error import ConnectionLost
from twisted.logger import capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.audit import MAX_PATH_CHARACTERS, public_path
from logplex.model.values import Token
from tests.doubles.api import AUTH_KEY, LegacyCase, V3Case, basic


def lines(act: Callable[[], object]) -> list[str]:
    """Capture the log."""
    with capturedLogs() as events:
        act()
    return [formatEvent(event) for event in events]


class PublicPathTests(SynchronousTestCase):
    """``public_path``"""

    def test_harmless(self) -> None:
        self.assertEqual("/v3/channels/app/drains/1", public_path(b"/v3/channels/app/drains/1"))

    def test_secrets(self) -> None:
        """Sessions, and tokens where they should not be."""
        for path, shown in (
            (f"/sessions/{UUID(int=1)}", "/sessions/…"),
            (f"/v2/canary-fetch/{UUID(int=1)}/", "/v2/canary-fetch/…"),
            (f"/v3/channels/app/tokens/t.{UUID(int=1)}", "/v3/channels/app/tokens/t.…"),
        ):
            self.assertEqual(shown, public_path(path.encode()))

    def test_cleaned(self) -> None:
        self.assertEqual("/a?b?", public_path(b"/a\x1bb\xff"))
        self.assertEqual(MAX_PATH_CHARACTERS, len(public_path(b"/" * 1_000)))


class AuditTests(V3Case):
    """One line for every change."""

    def audit(self, *args: object, **kwargs: object) -> list[str]:
        asked = lines(lambda: self.ask(*args, **kwargs))
        return [line for line in asked if line.startswith("audit: ")]

    def test_change(self) -> None:
        """The caller, the change, the address, and the outcome."""
        self.assertEqual(
            ["audit: full put_channel channel_id=app from 192.168.1.1, request r-1: done"],
            self.audit("PUT", "/v3/channels/app", {}, headers={"Request-Id": "r-1"}),
        )

    def test_channel(self) -> None:
        """The tokens and flags of a channel."""
        (line,) = self.audit("PUT", "/v3/channels/app", {"tokens": ["a", "b"], "flags": []})
        self.assertIn(" put_channel channel_id=app tokens=a,b flags= from ", line)

    def test_many_tokens(self) -> None:
        """A long detail is cut, so that a line stays short."""
        (line,) = self.audit(
            "PUT", "/v3/channels/app", {"tokens": ["x" * 40 + str(n) for n in range(100, 200)]}
        )
        self.assertIn(f" tokens={'x' * 40}100,", line)
        self.assertIn("…(4399) from ", line)
        self.assertLess(len(line), 800)

    def test_details(self) -> None:
        """Details beside the path, none of them secret."""
        for path, body, about in (
            ("/v3/channels/app/tokens", {"name": "x"}, "add_token channel_id=app name=x"),
            ("/v3/channels/app/drains", {}, "add_drain channel_id=app drain_id=4"),
            ("/v3/sessions", {"channel_id": "app"}, "open_session channel_id=app"),
        ):
            (line,) = self.audit("POST", path, body)
            self.assertTrue(line.startswith(f"audit: full {about} from "), line)

    def test_permissions(self) -> None:
        """The permissions of a new credential."""
        body = {"id": "new", "permissions": ["full_api", "any_channel"]}
        (line,) = self.audit("POST", "/v3/credentials", body)
        about = " create_credential credential_id=new permissions=full_api,any_channel from "
        self.assertIn(about, line)

    def test_import(self) -> None:
        """The number of values of each kind."""
        (line,) = self.audit("POST", "/v3/configuration", {})
        about = " import_configuration channels=0 tokens=0 drains=0 credentials=0 from "
        self.assertIn(about, line)

    def test_deleted_token(self) -> None:
        """The beginning of it."""
        self.put(Token("t.0123456789abcdef", "app", "web"))
        (line,) = self.audit("DELETE", "/v3/channels/app/tokens/t.0123456789abcdef")
        self.assertIn(" delete_token channel_id=app token_id=t.0123… from ", line)
        self.assertNotIn("456789", line)

    def test_export(self) -> None:
        """It changes nothing, but shows every secret."""
        (line,) = self.audit("GET", "/v3/configuration")
        self.assertTrue(line.startswith("audit: full export_configuration  from "), line)
        self.assertTrue(line.endswith(": done"), line)

    def test_auth_key(self) -> None:
        """A caller with the key is shown by the key's name, not by the key."""
        (line,) = self.audit("DELETE", "/v3/channels/app", auth="Basic " + AUTH_KEY)
        self.assertTrue(line.startswith("audit: auth_key delete_channel channel_id=app "), line)

    def test_no_change(self) -> None:
        """Reading, and what was refused."""
        for method, path, auth in (
            ("GET", "/v3/channels/app", basic("full")),
            ("DELETE", "/v3/channels/none", basic("full")),
            ("DELETE", "/v3/channels/app", None),
        ):
            self.assertEqual([], self.audit(method, path, auth=auth))

    def test_unknown_end(self) -> None:
        """If the store fails, the change may have been made."""
        self.store.away = True
        (line,) = self.audit("DELETE", "/v3/channels/app")
        self.assertTrue(line.endswith(": failed with 503, or perhaps not"), line)

    def test_client_left(self) -> None:
        """A client that does not wait for the answer is told of all the same."""
        self.store.held = []
        exchange = self.send("DELETE", "/v3/channels/app")
        left = lines(lambda: exchange.lose(Failure(ConnectionLost())))
        self.assertTrue(left[-1].endswith(": perhaps done, the client left before the answer"))


class EveryRequestTests(V3Case):
    """A line for every request, where that is wanted."""

    def told(self, path: str, auth: str | None) -> str:
        headers = {"Request-Id": "r-1", "User-Agent": "curl/8 " + "x" * 300}
        *_, line = lines(lambda: self.ask("GET", path, auth=auth, headers=headers))
        return line

    def test_admitted(self) -> None:
        line = self.told("/v3/channels/app", basic("full"))
        self.assertTrue(
            line.startswith(
                "request: request_id=r-1 method=GET route=show_channel path=/v3/channels/app"
                " user=full user_agent='curl/8 xxx"
            ),
            line,
        )
        self.assertIn("x" * 193 + "'", line)

    def test_refused(self) -> None:
        line = self.told("/v3/channels/app", basic("full", "wrong"))
        self.assertIn(" route=- path=/v3/channels/app error=NotAuthenticated ", line)

    def test_open_route(self) -> None:
        self.assertIn(" route=health_check ", self.told("/v3/healthcheck", None))


class LegacyAuditTests(LegacyCase):
    """The legacy API's changes."""

    def test_lines(self) -> None:
        """The same line, with the ids that were made; reads get none where none is wanted."""
        for method, path, body, about in (
            ("POST", "/channels", {}, "create_channel channel_id=1"),
            ("POST", "/v2/channels/7/drains", {"url": "http://u:p@h"}, "add_drain channel_id=7"),
            ("POST", "/channels/7/drains/tokens", None, "reserve_drain channel_id=7 drain_id=75"),
            ("POST", "/channels/7/token", {"name": "x"}, "add_token channel_id=7 name=x"),
            ("POST", "/v2/sessions", {"channel_id": "7"}, "open_session_v2 channel_id=7"),
        ):
            (line,) = lines(lambda: self.ask(method, path, body))  # noqa: B023
            self.assertTrue(line.startswith(f"audit: full {about}"), line)
        self.assertEqual([], lines(lambda: self.ask("GET", "/channels/7/info")))


class SecretTests(LegacyCase):
    """Secrets, which no line ever shows."""

    def test_nothing_secret(self) -> None:
        """No tokens, passwords or URLs, in whatever part of a request they are."""
        token = f"t.{UUID(int=9)}"

        def act() -> None:
            for site in (self.v3, self.legacy):
                for path in (
                    f"/sessions/{UUID(int=9)}",
                    f"/v3/channels/app/tokens/{token}",
                    "/v2/channels/7/drains",
                    "/v3/channels/app/drains",
                ):
                    for method in ("GET", "POST"):
                        for auth in (basic("full"), basic("token", token), "Basic " + AUTH_KEY):
                            body = {"url": "http://user:secret@host/path"}
                            self.send_to(site, method, path, body, auth).answer()

        text = "\n".join(lines(act))
        self.assertIn("audit: ", text)
        self.assertIn("request: ", text)
        for secret in (str(UUID(int=9)), "secret", "user:", "/path", AUTH_KEY, "d.0"):
            self.assertNotIn(secret, text)
