# SPDX-License-Identifier: Apache-2.0

"""
A configuration and a shard whose primary is found by three Sentinels.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from typing import Any

from twisted.internet.protocol import Factory

from logplex.configuration import make_config_store
from logplex.interfaces import IConfigStore, StoreAway
from logplex.model.values import Channel, Put
from logplex.redis.address import RedisAddress
from logplex.redis.connection import Commands
from logplex.settings import Store
from tests.contracts.configuration import Replica
from tests.integration.process import Child, Ended, reactor, until, within
from tests.integration.redis_server import INSTALLED, RedisServer, free_port, tls_port
from tests.integration.shards import ShardsTestCase

SENTINEL = shutil.which("redis-sentinel")
PASSWORD = "secret"


class SentinelTests(ShardsTestCase):
    """A primary, a replica, and three Sentinels that watch them."""

    skip = None if SENTINEL and INSTALLED else "there is no redis-sentinel on the PATH"
    timeout = 120

    async def redis(self) -> RedisServer:
        assert INSTALLED is not None
        options = ("--masterauth", PASSWORD, "--repl-diskless-sync-delay", "0")
        server = RedisServer(self.directory(), INSTALLED, options, PASSWORD)
        self.addCleanup(server.kill)
        await server.start()
        return server

    async def sentinel(self, primary: RedisServer, password: str) -> int:
        """Start a Sentinel that watches the primary; return its port."""
        for _ in range(5):
            port, directory = free_port(), self.directory()
            lines = [
                f"port {port}",
                "bind 127.0.0.1",
                f"sentinel monitor main 127.0.0.1 {primary.port} 2",
                f"sentinel auth-pass main {PASSWORD}",
                "sentinel down-after-milliseconds main 500",
                "sentinel failover-timeout main 5000",
            ]
            if password:
                lines += [f"requirepass {password}", f"sentinel sentinel-pass {password}"]
            file = directory / "sentinel.conf"
            file.write_text("\n".join(lines) + "\n")
            assert SENTINEL is not None
            child = Child.spawn([SENTINEL, str(file)], directory)
            self.addCleanup(child.end)
            try:
                await within(child.seen(r"\+monitor master main"), "the Sentinel watches")
            except Ended as ended:
                if "in use" not in ended.output:
                    raise
            else:
                return port
        raise RuntimeError("no port is free")

    async def watched(self, sentinel_password: str) -> tuple[RedisServer, RedisServer, str]:
        """Return a primary and its replica, known to three Sentinels, and the URL of both."""
        primary = await self.redis()
        replica = await self.redis()
        await replica.ask("REPLICAOF", "127.0.0.1", primary.port)
        ports = [await self.sentinel(primary, sentinel_password) for _ in range(3)]

        async def known() -> bool:
            seen = [await self.knows_all(port, sentinel_password) for port in ports]
            return all(seen)

        await until(known, "the Sentinels know the replica and each other", seconds=60.0)
        hosts = ",".join(f"127.0.0.1:{port}" for port in ports)
        return primary, replica, f"redis+sentinel://:{PASSWORD}@{hosts}/main"

    async def knows_all(self, port: int, password: str) -> bool:
        endpoint = RedisAddress("127.0.0.1", port).endpoint(reactor, 3.0)
        connection: Any = await endpoint.connect(Factory.forProtocol(Commands))
        try:
            if password:
                await connection.give(["AUTH", password])
            (fields,) = await connection.give(["SENTINEL", "MASTERS"])
        finally:
            await connection.end()
        found = dict(zip(fields[::2], fields[1::2], strict=True))
        return (found[b"num-slaves"], found[b"num-other-sentinels"]) == (b"1", b"2")

    async def writes(self, store: IConfigStore, channel_id: str) -> None:
        async def look() -> bool:
            try:
                await store.commit([Put(Channel(channel_id))])
            except StoreAway:
                return False
            return True

        await until(look, f"{channel_id} is written", seconds=60.0)

    async def failover(self, sentinel_password: str) -> None:
        primary, replica, url = await self.watched(sentinel_password)
        store, known = make_config_store(Store(url), reactor), Replica()
        self.addCleanup(store.close)
        await within(store.open(known), "the configuration is read")
        node = await self.spool_node(f"{url}#a")
        self.assertNotIn(PASSWORD, store.name)
        await self.writes(store, "before")
        node.append("c")
        await self.settled([node])

        async def copied() -> bool:
            return bool(await primary.ask("WAIT", 1, 500))

        await until(copied, "the replica has it")
        await primary.kill()
        await self.writes(store, "after")
        node.append("c")
        await self.settled([node], seconds=60.0)
        self.assertEqual(node.counters.spool_written, 2)
        self.assertEqual(known.known(), {Channel("before"), Channel("after")})

        async def has_it() -> bool:
            try:
                return bool(await replica.ask("EXISTS", "ch:after:data"))
            except StoreAway:
                # The link was made while the server was a replica, and is made anew.
                return False

        await until(has_it, "the new primary has it")

        # The old primary comes back as an empty one, and is made a replica by the Sentinels.
        await primary.start()
        await self.writes(store, "later")
        self.assertEqual(known.known(), {Channel("before"), Channel("after"), Channel("later")})

    async def test_the_replica_takes_over(self) -> None:
        await self.failover("")

    async def test_sentinels_with_a_password(self) -> None:
        await self.failover(PASSWORD)

    async def test_everything_over_tls(self) -> None:
        """The certificates are for the address that the Sentinel tells."""
        assert INSTALLED is not None
        assert SENTINEL is not None
        server_port = tls_port(self.directory(), "127.0.0.1")
        sentinel_port = tls_port(self.directory(), "127.0.0.1")
        server = RedisServer(self.directory(), INSTALLED, server_port.options, PASSWORD)
        self.addCleanup(server.kill)
        try:
            await server.start()
        except Ended as ended:
            self.skipTest(f"this Redis has no TLS: {ended.output[-200:]}")
        directory = self.directory()
        lines = [
            "port 0",
            "bind 127.0.0.1",
            "tls-replication yes",
            f"tls-ca-cert-file {server_port.ca_file}",
            *_lines(sentinel_port.options),
            f"sentinel monitor main 127.0.0.1 {server_port.number} 1",
            f"sentinel auth-pass main {PASSWORD}",
        ]
        file = directory / "sentinel.conf"
        file.write_text("\n".join(lines) + "\n")
        child = Child.spawn([SENTINEL, str(file)], directory)
        self.addCleanup(child.end)
        await within(child.seen(r"\+monitor master main"), "the Sentinel watches")
        both = directory / "both.pem"
        both.write_text(server_port.ca_file.read_text() + sentinel_port.ca_file.read_text())
        url = f"rediss+sentinel://:{PASSWORD}@127.0.0.1:{sentinel_port.number}/main"
        store, known = make_config_store(Store(url, ca_file=str(both)), reactor), Replica()
        self.addCleanup(store.close)
        await within(store.open(known), "the configuration is read")
        await self.writes(store, "c")

        only_sentinel = str(sentinel_port.ca_file)
        other = make_config_store(Store(url, ca_file=only_sentinel), reactor)
        self.addCleanup(other.close)
        opening = other.open(Replica())

        async def refused() -> bool:
            return "certificate verify failed" in " ".join(other.troubles())

        await until(refused, "the certificate of the primary is refused")
        self.assertNoResult(opening)


def _lines(options: Sequence[str]) -> list[str]:
    """Return the options of a command line as lines of a file."""
    return [
        f"{name.removeprefix('--')} {value}"
        for name, value in zip(options[::2], options[1::2], strict=True)
    ]
