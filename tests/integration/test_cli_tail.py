# SPDX-License-Identifier: Apache-2.0

"""
``logplex tail`` as a process: every message once and in order, over cuts and restarts.
"""

from __future__ import annotations

import json
import re
import signal
import sys

from tests.integration.cases import IntegrationTestCase
from tests.integration.crossing import Crossing
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import Child, until, within
from tests.integration.redis_server import INSTALLED, RedisServer
from tests.integration.senders import numbered, octet_counted, post

_NUMBER = re.compile(r"number=(\d+)")


class TailTests(IntegrationTestCase):
    """A node behind a way that can be cut, and a tail of one of its channels."""

    timeout = 120
    store: dict[str, str] = {}
    spool: dict[str, int] = {}

    async def prepare(self) -> None:
        """Start everything but the tail."""
        self.crossing = Crossing()
        self.addCleanup(self.crossing.close)
        self.sessions = Crossing()
        self.addCleanup(self.sessions.close)
        url = f"http://127.0.0.1:{self.sessions.port_number}"
        self.node_ = await self.node(
            {"urls": {"api": url}, "store": self.store, "spool": self.spool}
        )
        self.lead()
        self.token = await self.node_.channel("shop")

    def lead(self) -> None:
        self.crossing.lead_to(self.node_.ports["api_v3"])
        self.sessions.lead_to(self.node_.ports["api"])

    def tail(self, *options: str) -> Child:
        child = Child.spawn(
            [sys.executable, "-m", "logplex.cli.main", "tail", "shop", *options],
            self.node_.directory,
            {
                "LOGPLEX_URL": f"http://127.0.0.1:{self.crossing.port_number}",
                "LOGPLEX_CREDENTIAL": ":".join(CREDENTIAL),
            },
        )
        self.addCleanup(child.end)
        return child

    async def send(self, numbers: range) -> None:
        body = [octet_counted(numbered(self.token, numbers))]
        status = await post(self.node_.ports["logs"], body, ("token", self.token), {})
        self.assertEqual(status, 204)

    async def shown(self, child: Child, number: int) -> None:
        """Wait until a tail has shown this number."""
        await within(child.seen(rf"number={number} "), f"number {number} is shown")

    async def listening(self, node: Node) -> None:
        """Wait until the node has a tail."""

        async def look() -> bool:
            return (await node.metrics())["logplex_tails"] > 0

        await until(look, "somebody tails")

    def numbers(self, child: Child) -> list[int]:
        return [int(found[1]) for found in map(_NUMBER.search, child.lines) if found]


class LineTests(TailTests):
    """The lines that ``logplex tail`` shows."""

    async def test_recent_lines(self) -> None:
        await self.prepare()
        await self.send(range(200))
        child = self.tail("--no-follow", "--num", "150")
        ended = await within(child.ended(), "it ends")
        self.assertEqual(ended.status, 0)
        self.assertEqual(self.numbers(child), list(range(50, 200)))
        self.assertEqual(
            child.lines[0], "2026-01-02T03:04:05.000006+00:00 app[web.1]: number=50 of some"
        )

    async def test_json(self) -> None:
        await self.prepare()
        await self.send(range(1))
        child = self.tail("--no-follow", "--json")
        await within(child.ended(), "it ends")
        shown = json.loads(child.lines[0])
        self.assertGreater(int(shown.pop("id")), 1_500_000_000_000_000)
        self.assertEqual(
            shown,
            {
                "time": "2026-01-02T03:04:05.000006+00:00",
                "source": "app",
                "ps": "web.1",
                "message": "number=0 of some",
            },
        )

    async def test_filters(self) -> None:
        """Those of sessions, and those that are the command's own."""
        await self.prepare()
        await self.send(range(3))
        for options, count in (
            (["--source", "app", "--ps", "web"], 3),
            (["--source", "heroku"], 0),
            (["--ps", "cron", "--ps", "web.1"], 3),
            (["--exclude", "web"], 0),
        ):
            child = self.tail("--no-follow", *options)
            await within(child.ended(), "it ends")
            self.assertEqual(len(child.lines), count, options)

    async def test_interrupted(self) -> None:
        """Ctrl-C ends it at once, and without a word."""
        await self.prepare()
        await self.send(range(1))
        child = self.tail()
        await self.shown(child, 0)
        child.signal(signal.SIGINT)
        ended = await within(child.ended(), "it ends")
        self.assertEqual((ended.status, len(child.lines)), (130, 1), ended)

    async def test_deleted(self) -> None:
        await self.prepare()
        await self.send(range(1))
        child = self.tail()
        await self.listening(self.node_)
        await self.node_.request("DELETE", "/v3/channels/shop")
        ended = await within(child.ended(), "it ends")
        self.assertEqual((ended.status, child.lines[-1]), (4, "logplex: channel not found"))

    async def test_unknown(self) -> None:
        await self.prepare()
        await self.node_.request("DELETE", "/v3/channels/shop")
        ended = await within(self.tail().ended(), "it ends")
        self.assertEqual((ended.status, ended.output), (4, "logplex: channel not found"))


class CutTests(TailTests):
    """Connections that are lost."""

    async def test_cut_again_and_again(self) -> None:
        """Nothing is missing and nothing double, before, between and after the cuts."""
        await self.prepare()
        await self.send(range(100))
        child = self.tail("--num", "1000")
        await self.listening(self.node_)
        sent = 100
        for _ in range(5):
            await self.send(range(sent, sent + 100))
            self.assertEqual(self.sessions.cut(), 1)
            await self.send(range(sent + 100, sent + 200))
            sent += 200
            await self.shown(child, sent - 1)
        self.assertEqual(self.numbers(child), list(range(sent)))

    async def test_cut_under_traffic(self) -> None:
        """In the middle of what a node says, while hundreds of messages are on their way."""
        await self.prepare()
        child = self.tail()
        await self.listening(self.node_)
        cuts = 0
        for first in range(0, 6_000, 100):
            await self.send(range(first, first + 100))
            if first % 300 == 0:
                cuts += self.sessions.cut()
            # Less than the spool keeps, so that all can come after the next cut.
            await self.shown(child, max(0, first - 900))
        await self.shown(child, 5_999)
        self.assertEqual(self.numbers(child), list(range(6_000)))
        self.assertGreater(cuts, 3)

    async def test_cut_for_too_long(self) -> None:
        """The number of messages that have left the spool is shown, whatever the filters are."""
        self.spool = {"messages": 10}
        await self.prepare()
        await self.send(range(10))
        child = self.tail("--source", "app", "--ps", "web")
        await self.shown(child, 9)
        await self.listening(self.node_)
        self.sessions.lead_to(1)
        self.assertEqual(self.sessions.cut(), 1)
        await self.send(range(10, 40))
        self.lead()
        await self.shown(child, 39)
        self.assertEqual(self.numbers(child), [*range(10), *range(30, 40)])
        self.assertIn("logplex: 20 messages are gone", child.lines)

    async def test_cut_before_anything_came(self) -> None:
        """With --num 0 and an empty channel, there is no number to resume from."""
        await self.prepare()
        child = self.tail("--num", "0")
        await self.listening(self.node_)
        self.assertEqual(self.sessions.cut(), 1)
        await self.send(range(150))
        await self.shown(child, 149)
        self.assertEqual(self.numbers(child), list(range(150)))

    async def test_session_expires(self) -> None:
        """A cut after that makes a new session, which goes on at the same place."""
        await self.prepare()
        self.node_.configure({"limits": {"session_lifetime_s": 1}})
        await self.node_.terminate()
        await self.node_.start()
        self.lead()
        child = self.tail()
        await self.listening(self.node_)
        await self.send(range(10))
        await self.shown(child, 9)
        await within(child.seen(r"number=9 "), "the last is shown")
        made = len([line for line in self.node_.child.lines if "open_session" in line])

        async def again() -> bool:
            self.sessions.cut()
            lines = [line for line in self.node_.child.lines if "open_session" in line]
            return len(lines) > made

        await until(again, "there is a new session")
        await self.send(range(10, 20))
        await self.shown(child, 19)
        self.assertEqual(self.numbers(child), list(range(20)))


class RestartTests(TailTests):
    """A node that stops and starts again, on the spool of a cluster."""

    if INSTALLED is None:
        skip = "there is no redis-server on the PATH"

    async def test_restart(self) -> None:
        redis = RedisServer(self.directory(), str(INSTALLED))
        self.addCleanup(redis.kill)
        await redis.start()
        self.store = {"url": redis.url}
        await self.prepare()
        await self.send(range(100))
        child = self.tail()
        await self.listening(self.node_)
        for first, stop in ((100, self.node_.terminate), (300, self.node_.kill)):
            await self.send(range(first, first + 100))
            # What the killed node had not written yet would be lost for everybody.
            await self.shown(child, first + 99)
            await stop()
            await self.node_.start()
            self.lead()
            await self.send(range(first + 100, first + 200))
            await self.shown(child, first + 199)
        self.assertEqual(self.numbers(child), list(range(500)))
        remarks = [line for line in child.lines if line.startswith("logplex: ")]
        self.assertEqual([], [line for line in remarks if "sessions/" in line])
