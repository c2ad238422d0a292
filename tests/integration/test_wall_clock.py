# SPDX-License-Identifier: Apache-2.0

"""
A node on a machine whose time is set while it runs.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from twisted.internet.protocol import Factory, Protocol
from twisted.python.failure import Failure

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import ROOT, reactor, until
from tests.integration.readers import Reader, session
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import line_framed, numbered, send

#: Python runs this at the start of the node, before anything else asks for the time.
_SITE = """
import time
_real = time.time
def _set():
    try:
        with open({file!r}) as file:
            return _real() + float(file.read() or 0)
    except (OSError, ValueError):
        return _real()
time.time = _set
"""
_HOUR_S = 3_600
_STEPS_S = (-_HOUR_S, -30, _HOUR_S, 240 * _HOUR_S)


class _Silent(Protocol):
    disconnected = False

    def connectionLost(self, reason: Failure | None = None) -> None:
        self.disconnected = True


class WallClockTests(IntegrationTestCase):
    """Back and forth, by much and by little."""

    timeout = 120

    async def node_and_clock(self) -> tuple[Node, Path]:
        """Return a node, and the file that says by how many seconds its time is set."""
        directory = self.directory()
        file = directory / "set_by_s"
        (directory / "sitecustomize.py").write_text(_SITE.format(file=str(file)))
        limits = {"tail_keepalive_s": 0.5, "logs_idle_timeout_s": 1.0}
        node = Node(directory, {"limits": limits})
        self.addCleanup(node.kill)
        await node.start({"PYTHONPATH": f"{directory}{os.pathsep}{ROOT}"})
        return node, file

    async def test_nothing_depends_on_the_time_of_the_machine(self) -> None:
        node, file = await self.node_and_clock()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("c", [receiver.url])
        live = Reader(node, await session(node, "c", tail=True), events=True)
        await live.open()
        self.addCleanup(live.close)
        for turn, step_s in enumerate(_STEPS_S):
            first, last = 2 * turn + 1, 2 * turn + 2
            # A drain waits for its next try, a tail is quiet, a connection is silent.
            await receiver.down()
            await send(node.ports["syslog"], line_framed(numbered(token, [first])))
            await self.drain_waits(node)
            silent = await self.silent(node)
            file.write_text(str(step_s))
            receiver.up()
            await receiver.received(first)
            await send(node.ports["syslog"], line_framed(numbered(token, [last])))
            await receiver.received(last)
            await self.tail_lives(live, last)
            await self.closed(silent)
            health = (await node.request("GET", "/v3/health")).json()
            self.assertEqual(health["status"], "ok")
            self.assertTrue(0 <= health["uptime_s"] < 120, health["uptime_s"])
            self.assertEqual(await self.history(node), list(range(1, last + 1)))

    async def drain_waits(self, node: Node) -> None:
        async def look() -> bool:
            (drain,) = (await node.request("GET", "/v3/channels/c")).json()["drains"]
            status = await node.request("GET", f"/v3/channels/c/drains/{drain['id']}")
            state: str = status.json()["state"]
            return state == "waiting"

        await until(look, "the drain waits")

    async def tail_lives(self, live: Reader, last: int) -> None:
        """See the newest message, and then a sign of life."""

        async def goes_on() -> bool:
            return live.numbers()[-1:] == [last]

        await until(goes_on, "the tail goes on")
        shown = len(live.connection.body)

        async def lives() -> bool:
            return len(live.connection.body) > shown

        await until(lives, "the tail shows a sign of life")

    async def closed(self, connection: _Silent) -> None:
        async def look() -> bool:
            return connection.disconnected

        await until(look, "a silent connection is closed")

    async def history(self, node: Node) -> list[int]:
        """Return the numbers of the recent messages."""
        past = Reader(node, await session(node, "c", num="100"))
        await past.open()
        self.addCleanup(past.close)

        async def whole() -> bool:
            return past.connection.is_whole

        await until(whole, "the history is shown")
        return past.numbers()

    async def silent(self, node: Node) -> _Silent:
        """Return a connection to the logs listener on which nothing is sent."""
        connection = _Silent()
        opened = socket.socket()
        opened.connect(("127.0.0.1", node.ports["logs"]))
        opened.setblocking(False)
        factory = Factory.forProtocol(lambda: connection)
        reactor.adoptStreamConnection(opened.fileno(), socket.AF_INET, factory)
        opened.close()
        return connection
