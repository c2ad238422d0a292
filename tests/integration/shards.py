# SPDX-License-Identifier: Apache-2.0

"""
Several nodes' spools on several real shards, in one process: traffic, who follows it, and a proxy
that loses answers.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP4ServerEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from zope.interface import implementer

from logplex.interfaces import IFollower
from logplex.metrics import Counters
from logplex.settings import NodeSettings, Settings, Spool, Store
from logplex.spool.cluster import make_cluster_spool
from logplex.spool.cluster.spool import ClusterSpool
from logplex.spool.cluster.wire.scripts import APPEND
from tests.integration.cases import IntegrationTestCase
from tests.integration.process import reactor, until, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer


@implementer(IFollower)
@define(eq=False)
class Diary:
    """A follower that writes down what it is told."""

    entries: list[tuple[int | None, bytes]] = field(factory=list)
    events: list[str] = field(factory=list)

    def received(self, first: int | None, messages: list[bytes]) -> None:
        if first is None:
            self.entries += [(None, message) for message in messages]
        else:
            self.entries += enumerate(messages, first)

    def interrupted(self) -> None:
        self.events.append("interrupted")

    def resumed(self) -> None:
        self.events.append("resumed")

    def missed(self) -> None:
        self.events.append("missed")

    @property
    def messages(self) -> list[bytes]:
        return [message for _, message in self.entries]

    @property
    def numbers(self) -> list[int]:
        return [number for number, _ in self.entries if number is not None]


@define(eq=False)
class SpoolNode:
    """The spool of one node, and what was appended to it."""

    name: str
    spool: ClusterSpool
    counters: Counters
    sent: dict[str, list[bytes]] = field(factory=dict)

    def append(self, channel_id: str, count: int = 1) -> None:
        """Append messages with the name of their sender and their order."""
        sent = self.sent.setdefault(channel_id, [])
        texts = [b"%b %d" % (self.name.encode(), len(sent) + n) for n in range(count)]
        sent += texts
        self.spool.append(channel_id, texts)

    @property
    def appended(self) -> int:
        return sum(map(len, self.sent.values()))

    @property
    def waiting(self) -> int:
        """Messages that no shard has taken yet."""
        name = "logplex_shard_waiting_messages"
        return int(sum(each.value for each in self.spool.samples() if each.name == name))


class ShardsTestCase(IntegrationTestCase):
    """A test with shards and spools."""

    executable = INSTALLED or BUNDLED

    async def server(self, *options: str) -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable, options)
        self.addCleanup(server.kill)
        await server.start()
        return server

    async def spool_node(self, *urls: str, name: str = "node-1", **spool: Any) -> SpoolNode:
        """A node's spool that has reached all its shards."""
        settings = Settings(
            node=NodeSettings(name=name), store=Store(shards=urls), spool=Spool(**spool)
        )
        counters = Counters()
        made = make_cluster_spool(settings, reactor, counters)
        self.addCleanup(made.close)
        await within(made.when_present(), "the shards are there")
        return SpoolNode(name, made, counters)

    async def spool_nodes(self, count: int, *urls: str) -> list[SpoolNode]:
        return [await self.spool_node(*urls, name=f"node-{number}") for number in range(count)]

    async def follow(self, node: SpoolNode, channel_id: str) -> Diary:
        diary = Diary()
        await within(node.spool.join(channel_id, diary), "the channel is followed")
        return diary

    async def traffic(
        self, nodes: Sequence[SpoolNode], channels: Sequence[str], rounds: int = 100
    ) -> None:
        """Let every node receive messages, a few at a time, for 5 ms a round."""
        for turn in range(rounds):
            for place, node in enumerate(nodes):
                for channel_id in channels[(turn + place) % 3 :: 3]:
                    node.append(channel_id, 1 + turn % 3)
            await deferLater(reactor, 0.005)

    async def settled(self, nodes: Sequence[SpoolNode], seconds: float = 20.0) -> None:
        """
        Wait until every shard is there and has taken everything, and every message is accounted
        for.
        """
        for node in nodes:
            await within(node.spool.when_present(), "the shards are there")

        async def look() -> bool:
            return not any(node.waiting for node in nodes)

        await until(look, "everything is written", seconds)
        for node in nodes:
            counters = node.counters
            self.assertEqual(node.appended, counters.spool_written + counters.spool_dropped)

    async def told(self, diary: Diary, wanted: Sequence[bytes]) -> None:
        """Wait until the diary holds these messages, and see that it holds each once."""

        async def look() -> bool:
            return len(diary.entries) >= len(wanted)

        await until(look, f"{len(wanted)} messages are told, not {len(diary.entries)}")
        self.assertEqual(sorted(diary.messages), sorted(wanted))

    async def resumed(self, diary: Diary) -> None:
        """Wait until an interruption is over."""

        async def look() -> bool:
            return bool(diary.events) and diary.events[-1] != "interrupted"

        await until(look, "the interruption is over")

    def assert_in_order(self, diary: Diary, nodes: Sequence[SpoolNode], channel_id: str) -> None:
        """Each node's messages came in the order in which it received them."""
        for node in nodes:
            head = node.name.encode() + b" "
            came = [message for message in diary.messages if message.startswith(head)]
            place = {message: n for n, message in enumerate(node.sent.get(channel_id, []))}
            self.assertEqual(came, sorted(came, key=place.__getitem__))


class ForgetfulProxy(Factory):
    """
    Passes on what is said to a Redis and what it says; loses, when told to, the answer to the
    next batch, and the connection with it.
    """

    noisy = False

    def __init__(self, server: RedisServer) -> None:
        self.server = server
        self.lose_answers = 0
        self.lost = 0
        self.port: Any = None

    async def start(self) -> None:
        endpoint = TCP4ServerEndpoint(reactor, 0, interface="127.0.0.1")
        self.port = await endpoint.listen(self)

    def stop(self) -> Deferred[None]:
        stopped: Deferred[None] = self.port.stopListening()
        return stopped

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port.getHost().port}"

    def buildProtocol(self, addr: object) -> Protocol:
        return _NearSide(self)


class _NearSide(Protocol):
    transport: Any

    def __init__(self, proxy: ForgetfulProxy) -> None:
        self.proxy = proxy
        self.far: _FarSide | None = None
        self.early = b""
        self.deaf = False

    def connectionMade(self) -> None:
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.proxy.server.port)
        connecting = endpoint.connect(Factory.forProtocol(lambda: _FarSide(self)))
        connecting.addErrback(lambda _: self.transport.abortConnection())

    def dataReceived(self, data: bytes) -> None:
        if self.proxy.lose_answers and APPEND.sha.encode() in data:
            self.proxy.lose_answers -= 1
            self.deaf = True
        if self.far is None:
            self.early += data
        else:
            self.far.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        if self.far is not None:
            self.far.transport.abortConnection()


class _FarSide(Protocol):
    transport: Any

    def __init__(self, near: _NearSide) -> None:
        self.near = near

    def connectionMade(self) -> None:
        self.near.far = self
        self.transport.write(self.near.early)

    def dataReceived(self, data: bytes) -> None:
        if self.near.deaf:
            self.near.proxy.lost += 1
            self.near.transport.abortConnection()
        else:
            self.near.transport.write(data)

    def connectionLost(self, reason: object = None) -> None:
        self.near.transport.abortConnection()
