# SPDX-License-Identifier: Apache-2.0

"""
Real readers of tails: clients of event streams in Python and JavaScript, and nginx in between.
"""

from __future__ import annotations

import json
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import frozen
from twisted.internet.task import deferLater

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.npm import node_modules
from tests.integration.process import Child, reactor, until, within
from tests.integration.readers import Reader, session
from tests.integration.redis_server import free_port
from tests.integration.senders import octet_counted, post

NGINX = shutil.which("nginx")
#: Longer than the 3 s after which an ``EventSource`` comes back.
LIFETIME_S = 6.0

#: Programs that write the id and the data of each event of the URL that they are given.
SSECLIENT = """
import json, sys, requests, sseclient
answer = requests.get(sys.argv[1], stream=True, headers={"Accept": "text/event-stream"})
for event in sseclient.SSEClient(answer).events():
    print(json.dumps([event.id, event.data]), flush=True)
"""
AIOSSECLIENT = """
import asyncio, json, sys
from aiosseclient import aiosseclient
async def main():
    async for event in aiosseclient(sys.argv[1]):
        print(json.dumps([event.id, event.data]), flush=True)
asyncio.run(main())
"""
HTTPX_SSE = """
import json, sys, httpx
from httpx_sse import connect_sse
with httpx.Client(timeout=None) as client:
    with connect_sse(client, "GET", sys.argv[1]) as source:
        for event in source.iter_sse():
            print(json.dumps([event.id, event.data]), flush=True)
"""
EVENTSOURCE = """
const { EventSource } = require("eventsource");
const source = new EventSource(process.argv[1]);
source.onmessage = event => console.log(JSON.stringify([event.lastEventId, event.data]));
source.onerror = event => console.log("error", event.code, event.message);
"""

NGINX_CONF = """
daemon off; master_process off;
pid nginx.pid;
error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path body; proxy_temp_path proxy; fastcgi_temp_path fastcgi;
  uwsgi_temp_path uwsgi; scgi_temp_path scgi;
  server { listen 127.0.0.1:%d; location / { proxy_pass http://127.0.0.1:%d; } }
}
"""


def message(token: str, text: bytes) -> bytes:
    return b"<134>1 2026-01-02T03:04:05+00:00 host %b web.1 - - %b" % (token.encode(), text)


class ReaderTests(IntegrationTestCase):
    """A client reads recent lines, live ones, and, if it does so, resumes after a cut."""

    timeout = 200

    async def begin(self) -> None:
        self.node_ = await self.node({"limits": {"session_lifetime_s": LIFETIME_S}})
        self.token = await self.node_.channel("app-1")
        await self.send("recent", b"caf\xe9 \xff\xfe")
        path = await session(self.node_, "app-1", tail=True)
        self.url = f"http://127.0.0.1:{self.node_.ports['api']}{path}"

    async def send(self, *texts: str | bytes) -> None:
        raw = [text if isinstance(text, bytes) else text.encode() for text in texts]
        frames = octet_counted([message(self.token, text) for text in raw])
        status = await post(self.node_.ports["logs"], [frames], CREDENTIAL, {})
        self.assertEqual(204, status)

    async def run_client(self, command: Sequence[str], directory: Path | None = None) -> Child:
        child = Child.spawn(command, directory)
        self.addCleanup(child.end)
        await self.shown(child, "caf\ufffd \ufffd\ufffd")
        await self.send("live", "two\nlines", "☃")
        await self.shown(child, "☃")
        return child

    async def shown(self, child: Child, text: str) -> None:
        escaped = json.dumps(text)[1:-1].replace("\\", "\\\\")
        await within(child.seen(f"{escaped}|{text}"), f"the client shows {text!r}")

    def assert_shown(self, child: Child, *more: str) -> None:
        events = [json.loads(each) for each in child.lines if each.startswith("[")]
        texts = [data.partition(": ")[2] for _, data in events]
        expected = ["recent", "caf\ufffd \ufffd\ufffd", "live", "two\nlines", "☃", *more]
        self.assertEqual(expected, texts)
        ids = [int(id) for id, _ in events]
        self.assertEqual(sorted(set(ids)), ids)

    async def python(self, program: str) -> None:
        await self.begin()
        self.assert_shown(await self.run_client([sys.executable, "-c", program, self.url]))

    async def test_sseclient_py(self) -> None:
        await self.python(SSECLIENT)

    async def test_aiosseclient(self) -> None:
        await self.python(AIOSSECLIENT)

    async def test_httpx_sse(self) -> None:
        await self.python(HTTPX_SSE)

    async def test_eventsource_resumes_after_more_than_a_lifetime(self) -> None:
        packages = await node_modules("eventsource@3.0.7")
        await self.begin()
        command = [str(shutil.which("node")), "-e", EVENTSOURCE, "--", self.url]
        child = await self.run_client(command, packages)
        await deferLater(reactor, LIFETIME_S + 1.0)
        await self.node_.request("DELETE", "/v3/tails")
        await self.send("while it was away")
        await self.shown(child, "while it was away")
        await self.send("after")
        await self.shown(child, "after")
        self.assert_shown(child, "while it was away", "after")


@frozen
class Proxied:
    """A node behind a proxy, for :class:`Reader`."""

    ports: dict[str, int]


class NginxTests(IntegrationTestCase):
    """nginx, with its defaults, between a tail and its reader."""

    skip = None if NGINX else "nginx is not installed"
    timeout = 120

    async def test_lines_come_at_once(self) -> None:
        node = await self.node()
        token = await node.channel("app-1")
        path = await session(node, "app-1", tail=True)
        for events in (False, True):
            reader = Reader(await self.proxy(node), path, events)
            await reader.open()
            frames = octet_counted([message(token, b"hello")])
            self.assertEqual(204, await post(node.ports["logs"], [frames], CREDENTIAL, {}))

            async def shown(reader: Reader = reader) -> bool:
                return b"hello" in reader.connection.body

            await self.eventually(shown)
            reader.close()

    async def proxy(self, node: Node) -> Any:
        port, directory = free_port(), self.directory()
        file = directory / "nginx.conf"
        file.write_text(NGINX_CONF % (port, node.ports["api"]))
        child = Child.spawn([str(NGINX), "-p", f"{directory}/", "-c", file], directory)
        self.addCleanup(child.end)
        proxied = Proxied({"api": port})

        async def listens() -> bool:
            try:
                await Reader(proxied, "/healthcheck").open()  # type: ignore[arg-type]
            except OSError:
                return False
            return True

        await self.eventually(listens)
        return proxied

    async def eventually(self, look: Any) -> None:
        await until(look, "it is so")
