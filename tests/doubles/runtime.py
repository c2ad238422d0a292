# SPDX-License-Identifier: Apache-2.0

"""
A runtime for commands without sockets: servers in memory, and a clock that goes as fast as it can.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.interfaces import IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.python.failure import Failure
from twisted.test.iosim import FakeTransport, IOPump, connect
from twisted.web.client import URI, Agent
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

from logplex.cli.runtime import Conversation, Runtime, T
from tests.doubles.interfaces import as_reactor

#: Far more steps than any conversation takes; one that needs more hangs.
MAX_STEPS = 5_000
STEP_S = 0.1


@implementer(IAgentEndpointFactory)
@define(eq=False)
class Net:
    """
    The servers that there are, by port, and the connections to them.

    :ivar asked: how many connections were tried.
    """

    clock: Clock
    servers: dict[int, IProtocolFactory]
    connections: list[IOPump] = field(factory=list)
    asked: int = 0

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        return Door(self, uri.port)

    def flush(self) -> bool:
        """Let everything that was written arrive. Whether there was anything."""
        self.connections = [each for each in self.connections if not _is_over(each)]
        moved = [each.pump() for each in self.connections]
        return any(moved)


def _is_over(connection: IOPump) -> bool:
    return bool(connection.clientIO.disconnected and connection.serverIO.disconnected)


@implementer(IStreamClientEndpoint)
@define
class Door:
    """The place where one server may listen."""

    net: Net
    port: int

    def connect(self, factory: Any) -> Deferred[Any]:
        self.net.asked += 1
        server_factory = self.net.servers.get(self.port)
        if server_factory is None:
            return fail(ConnectionRefusedError())
        ours, theirs = (IPv4Address("TCP", "127.0.0.1", port) for port in (31_337, self.port))
        server: Any = server_factory.buildProtocol(ours)
        client = factory.buildProtocol(theirs)
        server_io = FakeTransport(server, isServer=True, hostAddress=theirs, peerAddress=ours)
        client_io = FakeTransport(client, isServer=False, hostAddress=ours, peerAddress=theirs)
        self.net.connections.append(connect(server, server_io, client, client_io))
        return succeed(client)


def run_in_memory(net: Net, conversation: Conversation[T]) -> T:
    """Run a conversation to its end, and let time pass while nothing else happens."""
    results: list[Any] = []
    talking = Deferred.fromCoroutine(conversation())
    talking.addBoth(results.append)
    for _ in range(MAX_STEPS):
        if results:
            break
        if not net.flush():
            net.clock.advance(STEP_S)
    else:
        raise AssertionError("the conversation does not end")
    (result,) = results
    if isinstance(result, Failure):
        result.raiseException()
    return result  # type: ignore[no-any-return]


def memory_runtime(
    clock: Clock, servers: Mapping[int, IProtocolFactory], home: Path
) -> tuple[Runtime, Net]:
    """A runtime with these servers, by port."""
    net = Net(clock, dict(servers))
    agent = Agent.usingEndpointFactory(clock, net)

    def run(conversation: Conversation[T]) -> T:
        return run_in_memory(net, conversation)

    return Runtime(as_reactor(clock), lambda ca_file: agent, run, home), net
