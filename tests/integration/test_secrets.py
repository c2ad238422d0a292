# SPDX-License-Identifier: Apache-2.0

"""
Secrets stay out of a node's log, metrics and errors: after traffic of every kind, good and bad,
each is searched for everything that is secret.
"""

from __future__ import annotations

import base64
import signal
from collections.abc import AsyncIterator

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Answer, Node
from tests.integration.receivers import Answer as Reply
from tests.integration.receivers import HttpReceiver, refusal
from tests.integration.senders import octet_counted, post, send

AUTH_KEY = "RawAuthKey5ecret"
WRONG_PASSWORD = "Wr0ngPa55word"
PASSWORD = "dr4inPa55"
USER_INFO = f"drainuser:{PASSWORD}"
PATH = "pathWith5ecret"
CONTENT = "ContentOfAMessage"
UNKNOWN_TOKEN = "t.00000000-1111-4222-8333-444444444444"
UNKNOWN_SESSION = "99999999-8888-4777-8666-555555555555"

#: Drain URLs that nobody can use; each tells a secret to whoever shows it.
BAD_URLS = (
    f"ftp://{USER_INFO}@h/{PATH}",
    f"http://{USER_INFO}@h:99999/{PATH}",
    f"http://{USER_INFO}@/{PATH}",
    f"{USER_INFO}@h/{PATH}",
)


def message(token: str, text: str = CONTENT) -> bytes:
    return f"<14>1 2026-01-02T03:04:05Z h {token} web.1 - - {text}".encode()


class SecretsTests(IntegrationTestCase):
    """One node, everything that it says, and everything that it must not say."""

    timeout = 120

    async def test_nothing_is_told(self) -> None:
        node = Node(
            self.directory(),
            {
                "auth": {"key": AUTH_KEY},
                "limits": {"unknown_token_log_interval_s": 0.0},
                "drains": {"flush_s": 1.0, "http_retry_delays_s": [0.01], "http_tries": 2},
            },
        )
        self.addCleanup(node.kill)
        await node.start({"LOG_API_USER": "true"})

        secrets = {AUTH_KEY, WRONG_PASSWORD, USER_INFO, PASSWORD, PATH, CONTENT}
        secrets |= {UNKNOWN_TOKEN, UNKNOWN_SESSION}
        secrets |= await self.traffic(node)
        refusals = [answer async for answer in self.refused(node)]
        pages = [
            await node.request("GET", path, port="metrics", auth=None)
            for path in ("/metrics", "/metrics/channels", "/metrics/drains", "/nowhere")
        ]
        drains = await self.seen(node)
        node.child.signal(signal.SIGHUP)
        log = (await node.terminate()).output

        self.assertIn("token begins 't.00000000'", log)
        self.assert_free_of(secrets, "log", log)
        for page in pages:
            self.assert_free_of(secrets, "metrics", page.body.decode())
        for answer in drains:
            self.assert_free_of({USER_INFO, PASSWORD, PATH}, "state of a drain", repr(answer))
        self.assertGreater(len(refusals), 15)
        for answer in refusals:
            self.assertIn(answer.status, range(400, 504))
            self.assertNotEqual(answer.status, 500, answer)
            self.assert_free_of(secrets, "refusal", repr(answer))

    def assert_free_of(self, secrets: set[str], where: str, text: str) -> None:
        self.assertNotIn("Traceback", text)
        self.assertNotIn("bug:", text)
        for secret in secrets:
            encoded = base64.b64encode(secret.encode()).decode().rstrip("=")
            for form in (secret, encoded):
                lines = [line for line in text.splitlines() if form in line]
                self.assertEqual(lines, [], f"{form} in the {where}")

    async def traffic(self, node: Node) -> set[str]:
        """
        Messages to drains that take them, refuse them, break off, and are not there.

        :return: what the node made that is secret.
        """
        taking, refusing, breaking, absent = (HttpReceiver() for _ in range(4))
        refusing.script = lambda _: refusal(500)
        nonsense = Reply(b"nonsense " + CONTENT.encode(), close=True, keeps=False)
        breaking.script = lambda _: nonsense
        for receiver in (taking, refusing, breaking):
            self.receiver(receiver)
        self.addCleanup(absent.close)
        urls = [
            f"http://{USER_INFO}@127.0.0.1:{receiver.port}/{PATH}?key={PATH}"
            for receiver in (taking, refusing, breaking, absent)
        ]
        urls.append(f"syslog://127.0.0.1:{node.ports['metrics']}")
        urls.append(f"https://{USER_INFO}@127.0.0.1:{node.ports['metrics']}/{PATH}")
        token = await node.channel("app-1", urls)
        shown = await node.request("GET", "/v3/channels/app-1")
        made = {token, *(drain["token"] for drain in shown.json()["drains"])}

        messages = [message(token) for _ in range(20)]
        strange = [message(UNKNOWN_TOKEN), b"<42> " + CONTENT.encode()]
        long = message(token, CONTENT * 1_000)
        garbage = f"{CONTENT} {token}\n".encode()
        await send(
            node.ports["syslog"], octet_counted([*messages, *strange, long]), garbage, garbage
        )
        await post(node.ports["logs"], [octet_counted(messages)], ("token", token), {})
        await taking.received(40)

        session = await node.request("POST", "/v3/sessions", {"channel_id": "app-1", "num": "5"})
        self.assertEqual(session.status, 201)
        session_id = session.json()["url"].rpartition("/")[2]
        read = await node.request("GET", f"/sessions/{session_id}", port="api", auth=None)
        self.assertIn(CONTENT, read.body.decode())
        canary = await node.request(
            "POST", "/v2/canary-sessions", {"channel_id": "app-1"}, port="api"
        )
        canary_id = canary.json()["url"].rpartition("/")[2]
        await node.request("GET", f"/v2/canary-fetch/{canary_id}", port="api")

        credential = await node.request(
            "POST", "/v3/credentials", {"name": "ci", "permissions": ["any_channel"]}
        )
        self.assertEqual(credential.status, 201, credential)
        return {*made, session_id, canary_id, credential.json()["password"]}

    async def seen(self, node: Node) -> list[object]:
        """Return the status of each drain without its URL, a test of one, and the health."""
        shown = (await node.request("GET", "/v3/channels/app-1")).json()["drains"]
        paths = [f"/v3/channels/app-1/drains/{drain['id']}" for drain in shown]
        answers = [await node.request("GET", path) for path in paths]
        answers.append(await node.request("POST", f"{paths[1]}/test", {}))
        answers.append(await node.request("GET", "/v3/health"))
        for answer in answers:
            self.assertEqual(answer.status, 200, answer)
        seen = [answer.json() for answer in answers]
        for drain, state in zip(shown, seen, strict=False):
            # A caller with full_api sees the URL as it was given.
            self.assertEqual(drain["url"], state.pop("url"))
            self.assertIn("last_error", state)
        return seen

    async def refused(self, node: Node) -> AsyncIterator[Answer]:
        """Requests that are wrong in one way each."""
        stranger = (CREDENTIAL[0], WRONG_PASSWORD)
        for port, path in (
            ("api_v3", "/v3/channels/app-1"),
            ("api_v3", "/v3/credentials"),
            ("api", "/v2/channels/1"),
        ):
            yield await node.request("GET", path, port=port, auth=stranger)
            yield await node.request("GET", path, port=port, auth=None)
        for url in BAD_URLS:
            yield await node.request("POST", "/v3/channels/app-1/drains", {"url": url})
        for body in ([PATH], {"url": [PATH]}, {"url": 5, "path": PATH}):
            yield await node.request("POST", "/v3/channels/app-1/drains", body)
        yield await node.request("PUT", "/v3/channels/app-1", {"tokens": [f"{PATH} {PATH}"]})
        yield await node.request("PUT", "/v3/channels/app-1", [PATH])
        yield await node.request("POST", "/v3/sessions", {"channel_id": "nobody's"})
        yield await node.request("GET", f"/sessions/{UNKNOWN_SESSION}", port="api", auth=None)
        for user in (("token", UNKNOWN_TOKEN), stranger):
            status = await post(node.ports["logs"], [octet_counted([message("t.x")])], user, {})
            self.assertEqual(status, 401)
