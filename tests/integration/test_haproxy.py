# SPDX-License-Identifier: Apache-2.0

"""
``etc/haproxy.cfg`` with three real nodes, which are restarted one after another under load.
"""

from __future__ import annotations

import re
import shutil
import sys
from pathlib import Path
from typing import Any

import trustme
from treq.client import HTTPClient
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
from twisted.internet.interfaces import IHalfCloseableProtocol
from twisted.internet.protocol import Protocol, connectionDone
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SkipTest
from twisted.web.client import Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from zope.interface import implementer

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import CREDENTIAL, Node
from tests.integration.process import ROOT, Child, TooLate, reactor, until, within
from tests.integration.receivers import HttpReceiver
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer, free_port
from tests.integration.senders import numbered, numbers_in, octet_counted

HAPROXY = shutil.which("haproxy", path="/usr/sbin:/usr/local/sbin:/usr/bin")
PAUSE_S = 0.02
WRITE_PAUSE_S = 0.002

#: The first number of each sender's messages.
POSTED, POSTED_BY_KEEP_ALIVE, WRITTEN, KNOCKED = 1_000_000, 2_000_000, 3_000_000, 4_000_000


class BehindProxy(Node):
    """A node whose ports take only connections of a load balancer."""

    async def _healthy(self) -> bool:
        return True


@implementer(IHalfCloseableProtocol)
class Sender(Protocol):
    """
    A sender of syslog. When the other end closes, it sends what it has written, and closes too.

    :ivar ended: the connection takes no more messages.
    """

    ended = False

    def readConnectionLost(self) -> None:
        self.ended = True
        assert self.transport is not None
        self.transport.loseConnection()

    def writeConnectionLost(self) -> None:
        """Do nothing: the connection ends as a whole."""

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        self.ended = True


class HAProxyTests(IntegrationTestCase):
    """The example, with other addresses."""

    timeout = 240

    async def cluster(self) -> None:
        """Start HAProxy and three nodes that share one Redis."""
        if HAPROXY is None or (INSTALLED or BUNDLED) is None:
            raise SkipTest("haproxy or redis-server is not installed")
        self.home = self.directory()
        authority = trustme.CA()
        self.ca_file = self.home / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.pem = self.home / "logs.pem"
        authority.issue_cert("127.0.0.1").private_key_and_cert_chain_pem.write_to_path(
            str(self.pem)
        )
        roots = trustRootFromCertificates([Certificate.loadPEM(self.ca_file.read_bytes())])
        policy = BrowserLikePolicyForHTTPS(roots)
        self.client = HTTPClient(Agent(reactor, policy))
        self.pool = HTTPConnectionPool(reactor)
        self.addCleanup(self.pool.closeCachedConnections)
        self.persistent = HTTPClient(Agent(reactor, policy, pool=self.pool))

        executable = INSTALLED or BUNDLED
        assert executable is not None
        redis = RedisServer(self.directory(), executable)
        self.addCleanup(redis.kill)
        await redis.start()

        example = (ROOT / "etc/haproxy.cfg").read_text("utf-8")
        self.fronts = {port: free_port() for port in (6001, 6514, 443, 8001, 8002)}
        self.backs = {
            f"{number}:{port}": free_port()
            for number in (1, 2, 3)
            for port in (6001, 6514, 8601, 8001, 8002)
        }
        self.drain_s = float(re.findall(r"drain_s +=(.*)", example)[0])
        self.haproxy = await self.balancer(example)
        self.nodes = [self.behind(number, redis.url) for number in (1, 2, 3)]
        await gatherResults([Deferred.fromCoroutine(node.start()) for node in self.nodes])

    async def balancer(self, example: str) -> Child:
        """Start HAProxy with the example, on ports of this machine."""

        def server(found: re.Match[str]) -> str:
            number, port, check = found.groups()
            port = self.backs[f"{number}:{port}"]
            return f"127.0.0.1:{port}" + (
                f" port {self.backs[f'{number}:{check}']}" if check else ""
            )

        text = re.sub(r"192\.0\.2\.1(\d):(\d+)(?: port (\d+))?", server, example)
        text = re.sub(r"bind :(\d+)", lambda it: f"bind 127.0.0.1:{self.fronts[int(it[1])]}", text)
        text = text.replace("/etc/haproxy/logs.pem", str(self.pem)).replace("40000", "400")
        file = self.home / "haproxy.cfg"
        file.write_text(text)
        haproxy = Child.spawn([Path(HAPROXY or ""), "-db", "-f", file], self.home)
        self.addCleanup(haproxy.end)
        return haproxy

    def behind(self, number: int, redis: str) -> Node:
        """Return a node with the settings that the example names."""
        listen: dict[str, Any] = {
            name: f"haproxy:tcp:{self.backs[f'{number}:{port}']}:interface=127.0.0.1"
            for name, port in (("syslog", 6001), ("logs", 8601), ("api", 8001), ("api_v3", 8002))
        }
        node = BehindProxy(
            self.directory(),
            {
                "node": {"name": f"node-{number}", "drain_s": self.drain_s},
                "listen": listen,
                "urls": {
                    "api": f"https://127.0.0.1:{self.fronts[8001]}",
                    "api_v3": f"https://127.0.0.1:{self.fronts[8002]}",
                },
                "store": {"url": redis, "shards": [redis]},
                "spool": {"messages": 100_000},
            },
        )
        self.addCleanup(node.kill)
        return node

    async def ask(self, method: str, path: str, body: object) -> Any:
        """Return the answer of API v3, through the balancer."""
        url = f"https://127.0.0.1:{self.fronts[8002]}{path}"
        response = await self.client.request(method, url, json=body, auth=CREDENTIAL)
        self.assertIn(response.code, (200, 201), await response.text())
        return await response.json()

    async def served_by(self, count: int) -> None:
        """Wait until the balancer sends requests to this number of nodes."""

        async def look() -> bool:
            up = len(re.findall(r"Server logs/node-\d is UP", "\n".join(self.haproxy.lines)))
            down = len(re.findall(r"Server logs/node-\d is DOWN", "\n".join(self.haproxy.lines)))
            return 3 + up - down >= count

        await until(look, f"{count} nodes serve")

    async def post(self, client: HTTPClient, first: int) -> int:
        """Post numbered messages one by one until the end; return how many were accepted."""
        count = 0
        url = f"https://127.0.0.1:{self.fronts[443]}/logs"
        while not self.is_over:
            response = await client.post(
                url,
                data=octet_counted(numbered(self.token, [first + count])),
                headers=Headers(
                    {"Content-Type": ["application/logplex-1"], "Logplex-Msg-Count": ["1"]}
                ),
                auth=("token", self.token),
            )
            text = await response.text()
            if response.code != 204:
                self.refused.append((first + count, response.code, text))
            count += 1
            await deferLater(reactor, PAUSE_S)
        return count

    async def write(self) -> int:
        """Write numbered messages over TCP until the end; return how many."""
        count = 0
        sender = None
        while not self.is_over:
            if sender is None or sender.ended:
                endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.fronts[6001])
                sender = await connectProtocol(endpoint, Sender())
            assert sender.transport is not None
            sender.transport.write(octet_counted(numbered(self.token, [WRITTEN + count])))
            count += 1
            await deferLater(reactor, WRITE_PAUSE_S)
        assert sender is not None
        assert sender.transport is not None
        sender.transport.loseConnection()
        return count

    async def knock(self) -> int:
        """Write numbered messages, each over a connection of its own; return how many."""
        count = 0
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.fronts[6001])
        while not self.is_over:
            sender = await connectProtocol(endpoint, Sender())
            assert sender.transport is not None
            sender.transport.write(octet_counted(numbered(self.token, [KNOCKED + count])))
            sender.transport.loseConnection()
            count += 1
            await deferLater(reactor, WRITE_PAUSE_S)
        return count

    async def test_rolling_restart(self) -> None:
        """Nothing is lost, no request is refused, and the tail shows everything once."""
        await self.cluster()
        self.is_over = False
        self.refused: list[Any] = []
        await deferLater(reactor, 3)
        await self.served_by(3)
        receiver = self.receiver(HttpReceiver())
        made = await self.ask("PUT", "/v3/channels/shop", {"tokens": ["app"]})
        self.token = made["tokens"]["app"]
        await self.ask("POST", "/v3/channels/shop/drains", {"url": receiver.url})
        tail = Child.spawn(
            [sys.executable, "-m", "logplex.cli.main", "tail", "shop", "--json", "-n", "100000"],
            self.home,
            {
                "LOGPLEX_URL": f"https://127.0.0.1:{self.fronts[8002]}",
                "LOGPLEX_CREDENTIAL": ":".join(CREDENTIAL),
                "LOGPLEX_CA_FILE": str(self.ca_file),
            },
        )
        self.addCleanup(tail.end)
        sending = [
            Deferred.fromCoroutine(each)
            for each in (
                self.post(self.client, POSTED),
                self.post(self.persistent, POSTED_BY_KEEP_ALIVE),
                self.write(),
                self.knock(),
            )
        ]
        await deferLater(reactor, 1)
        for node in self.nodes:
            await node.terminate()
            await node.start()
            await self.served_by(3)
            await deferLater(reactor, 1)
        self.is_over = True
        counts = await within(gatherResults(sending), "the senders end")
        self.assertEqual(self.refused, [])
        firsts = POSTED, POSTED_BY_KEEP_ALIVE, WRITTEN, KNOCKED
        sent = [
            first + number
            for first, count in zip(firsts, counts, strict=True)
            for number in range(count)
        ]

        async def all_delivered() -> bool:
            return set(sent) <= set(numbers_in(receiver.frames))

        try:
            await until(all_delivered, "the drains deliver everything")
        except TooLate:
            missing = sorted(set(sent) - set(numbers_in(receiver.frames)))
            self.fail(f"{len(missing)} of {len(sent)} are lost: {missing[:20]}")

        def shown() -> list[int]:
            return numbers_in([line.encode() for line in tail.lines if line.startswith("{")])

        async def all_shown() -> bool:
            return len(shown()) >= len(sent)

        try:
            await until(all_shown, "the tail shows everything")
        except TooLate:
            missing = sorted(set(sent) - set(shown()))
            told = [line for line in tail.lines if "number=" not in line]
            self.fail(f"{len(missing)} are not shown: {missing[:20]}, {told}")
        self.assertEqual(sorted(shown()), sorted(sent))
