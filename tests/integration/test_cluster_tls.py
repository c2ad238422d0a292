# SPDX-License-Identifier: Apache-2.0

"""
Real nodes that reach their Redis over TLS, as a user with a password, in a database of its own.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node
from tests.integration.process import until, within
from tests.integration.redis_server import INSTALLED, RedisServer, TlsPort, tls_port
from tests.integration.senders import numbered, numbers_in, octet_counted, send


class ClusterTlsTests(IntegrationTestCase):
    executable = INSTALLED
    skip = None if INSTALLED else "only the redis-server on the PATH speaks TLS"

    async def server(self) -> tuple[RedisServer, TlsPort]:
        assert self.executable is not None
        port = tls_port(self.directory())
        server = RedisServer(self.directory(), self.executable, port.options)
        self.addCleanup(server.kill)
        await server.start()
        await server.ask("ACL", "SETUSER", "ana", "on", ">pass/word", "~*", "&*", "+@all")
        return server, port

    def member(self, name: str, port: TlsPort, **store: Any) -> Node:
        """A node that was not started."""
        url = f"rediss://ana:pass%2Fword@localhost:{port.number}/3"
        sections = {"store": {"url": url, **store}, "node": {"name": name}}
        node = Node(self.directory(), sections)
        self.addCleanup(node.kill)
        return node

    async def test_its_certificate_is_verified_as_configured_or_by_the_systems_roots(self) -> None:
        server, port = await self.server()
        one = self.member("one", port, ca_file=str(port.ca_file))
        await one.start()
        two = self.member("two", port)
        # Where OpenSSL looks for the system's roots instead.
        await two.start({"SSL_CERT_FILE": str(port.ca_file)})
        token = await one.channel("app-1")
        await send(one.ports["syslog"], octet_counted(numbered(token, [7])))

        async def told() -> bool:
            answer = await two.request("GET", "/v3/channels/app-1/logs")
            return numbers_in(answer.body.splitlines()) == [7]

        await until(told, "the other node has the message")
        self.assertEqual(await server.ask("DBSIZE"), 0, "it is in the first database")

    async def test_who_trusts_nobody_who_vouches_for_it_says_so(self) -> None:
        _, port = await self.server()
        node = self.member("one", port)
        starting = Deferred.fromCoroutine(node.start())
        found = await within(
            node.child.seen(r"Redis \(configuration, rediss://localhost:\d+/3\) is away: (.*)"),
            "the node says that Redis is away",
        )
        self.assertRegex(found[1], "certificate verify failed")
        self.assertNotIn("word", "\n".join(node.child.lines))
        self.assertFalse(starting.called)
        node.find_ports()
        troubles = (await node.request("GET", "/v3/health")).json()["troubles"]
        self.assertRegex(troubles[1], "certificate verify failed")
        await node.kill()
        await self.assertFailure(starting, Exception)
