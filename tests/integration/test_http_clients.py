# SPDX-License-Identifier: Apache-2.0

"""
HTTP clients that are unusual and right: each listener serves them.
"""

from __future__ import annotations

import base64
import socket
from collections.abc import Iterator
from urllib.parse import urlsplit

from twisted.internet.threads import deferToThread

from tests.doubles.wire import body_of, request, status
from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import PATIENCE_S, within
from tests.integration.senders import numbered, numbers_in, octet_counted, send

AUTHORIZATION = "Basic " + base64.b64encode(":".join(CREDENTIAL).encode()).decode()

#: A page of each HTTP listener.
PAGES = {
    "logs": "/healthcheck",
    "api": "/healthcheck",
    "api_v3": "/v3/healthcheck",
    "metrics": "/metrics",
}


def _ask(port: int, data: bytes) -> bytes:
    """Write this, close our side as ``nc -N`` does, and read until the node closes its."""
    with socket.create_connection(("127.0.0.1", port), PATIENCE_S) as connection:
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(_pieces(connection))


def _pieces(connection: socket.socket) -> Iterator[bytes]:
    while piece := connection.recv(65_536):
        yield piece


async def ask(node: Node, listener: str, data: bytes) -> bytes:
    """Return the node's answer up to the end of the connection."""
    asking = deferToThread(_ask, node.ports[listener], data)
    return await within(asking, "the node answers and closes")


class TargetTests(IntegrationTestCase):
    """Clients that ask as one asks a proxy (RFC 9112 §3.2.2)."""

    async def test_every_listener(self) -> None:
        node = await self.node()
        for listener, path in PAGES.items():
            for host in (f"127.0.0.1:{node.ports[listener]}", "logs.example.com", "u:p@[:x"):
                url = f"http://{host}{path}"
                asked = request("GET", url, Authorization=AUTHORIZATION)
                self.assertEqual(status(await ask(node, listener, asked)), 200, url)


class HalfCloseTests(IntegrationTestCase):
    """Clients that have nothing more to say, and listen."""

    async def test_every_listener(self) -> None:
        """The node answers at once, and also if it has to wait for the configuration."""
        node = await self.node()
        for listener, path in PAGES.items():
            asked = request("GET", path, Authorization=AUTHORIZATION)
            answer = await ask(node, listener, asked)
            self.assertEqual(status(answer), 200, listener)
            self.assertTrue(body_of(answer), listener)

    async def test_history(self) -> None:
        """Chunk by chunk, to its end."""
        node = await self.node()
        token = await node.channel("app-1")
        await send(node.ports["syslog"], octet_counted(numbered(token, range(100))))
        await self.counted(node, "logplex_messages_processed_total", 100)
        made = await node.request("POST", "/v3/sessions", {"channel_id": "app-1", "num": 100})
        path = urlsplit(made.json()["url"]).path
        answer = await ask(node, "api", request("GET", path))
        self.assertEqual(numbers_in(answer.split(b"\n")), list(range(100)))
        self.assertTrue(answer.endswith(b"0\r\n\r\n"))

    async def test_several_requests(self) -> None:
        node = await self.node()
        asked = request("GET", "/v3/healthcheck") * 5
        answer = await ask(node, "api_v3", asked)
        self.assertEqual(answer.count(b"HTTP/1.1 200 OK\r\n"), 5)
