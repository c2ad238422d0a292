"""
A model of a Redis shard: what its scripts do, one step at a time, over connections that a test
may cut between any two steps. The real thing is in ``tests/integration``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from itertools import count
from typing import Any

import msgpack
from twisted.internet.defer import Deferred, fail, succeed

from logplex.interfaces import StoreAway
from logplex.spool.cluster.wire.scripts import APPEND, KEEP, OPEN, RAISE, RECENT

KEPT = 1_500

_processes = count(1)


class ModelRedis:
    """
    The state of a shard.

    :ivar late: commands of connections that are gone, which it may still execute.
    """

    def __init__(self) -> None:
        self.now_us = 1_000_000
        self.links: list[ModelLink] = []
        self.late: deque[tuple[Any, ...]] = deque()
        self.restart()

    def restart(self) -> None:
        """Lose everything, connections too."""
        self.run = next(_processes)
        self.late.clear()
        self.seen_run = b""
        self.floor = 1
        self.sequences: dict[bytes, int] = {}
        self.lists: dict[bytes, list[bytes]] = {}
        self.records: dict[bytes, list[bytes]] = {}
        self.batches: dict[tuple[bytes, bytes], int] = {}
        for link in self.links:
            link.cut(late=False)

    def execute(self, link: ModelLink | None, command: tuple[Any, ...]) -> Any:
        self.now_us += 100
        if command[0] == "INFO":
            return b"run_id:%d" % self.run
        if command[0] == "PING":
            return b"PONG"
        if command[0] in ("SUBSCRIBE", "UNSUBSCRIBE"):
            assert link is not None
            link.subscribed.discard(command[1].encode())
            if command[0] == "SUBSCRIBE":
                link.subscribed.add(command[1].encode())
            return []
        assert command[0] == "EVALSHA"
        script = {each.sha: each for each in (OPEN, APPEND, RECENT)}[command[1]]
        arguments = command[3:]
        if script is OPEN:
            return self._open(*arguments)
        if script is RECENT:
            return self._recent(*arguments)
        return self._append(*arguments)

    def _open(self, run: bytes, prefix: str) -> int:
        if run != self.seen_run:
            self.floor = max(self.floor, self.now_us)
        self.seen_run = run
        return 0

    def _append(
        self,
        node: bytes,
        start: bytes,
        number: int,
        prefix: str,
        kept: int,
        retention_s: int,
        raised: int,
        *payloads: bytes,
    ) -> bytes | None:
        if number <= self.batches.get((node, start), 0):
            return None
        self.batches[node, start] = number
        origin = b"%d %b %b" % (number, start, node)
        for payload in payloads:
            channel, flags, mark, messages, lost = msgpack.unpackb(payload, raw=True)
            least = max(self.floor, raised if flags & RAISE else 0)
            before = self.sequences.get(channel, 0)
            first = before + lost + 1
            if before < least:
                first = max(self.now_us, least) + lost + 1
            if lost:
                before = first - 1
            last = self.sequences[channel] = first + len(messages) - 1
            if flags & KEEP:
                self.lists.setdefault(channel, [])[:0] = messages[::-1]
                self.records.setdefault(channel, []).insert(
                    0, b"%d %d %b %b" % (last, before, mark, origin)
                )
            for link in self.links:
                name = prefix.encode() + channel
                if name in link.subscribed:
                    link.arriving.append((name, b"%d %d %b\n" % (first, before, origin) + payload))
        empty: bytes = msgpack.packb([[], []])
        return empty

    def _recent(self, channel: str, count: int, node: bytes, start: bytes) -> bytes:
        key = channel.encode()
        packed: bytes = msgpack.packb(
            [
                b"%d" % self.sequences.get(key, 0),
                b"%d" % self.batches.get((node, start), 0),
                self.lists.get(key, [])[:count],
                self.records.get(key, [])[:count],
            ],
            use_bin_type=False,
        )
        return packed


class ModelLink:
    """
    One connection: what was sent, and what is on its way back.

    :ivar arriving: answers (with the Deferred that waits) and publications, in order.
    """

    def __init__(
        self,
        redis: ModelRedis,
        up: Callable[[], None],
        down: Callable[[], None],
        received: Callable[[bytes, bytes], None] | None = None,
    ) -> None:
        self.redis, self._up, self._down, self._received = redis, up, down, received
        self.connected = self.stopped = False
        self.sent: deque[tuple[tuple[Any, ...], Deferred[Any]]] = deque()
        self.arriving: deque[tuple[Any, Any]] = deque()
        self.subscribed: set[bytes] = set()
        redis.links.append(self)

    @property
    def trouble(self) -> str | None:
        return None if self.connected else "away"

    def start(self) -> None:
        pass

    def stop(self) -> Deferred[None]:
        self.stopped = True
        self.cut(late=False)
        return succeed(None)

    def ask(self, *command: Any) -> Deferred[Any]:
        if not self.connected:
            return fail(StoreAway())
        answer: Deferred[Any] = Deferred()
        self.sent.append((command, answer))
        return answer

    def asked(self, name: str) -> bool:
        """Whether a command of this name is on its way to the server."""
        return any(command[0] == name for command, _ in self.sent)

    # What may happen.

    def connect(self) -> None:
        if not self.connected and not self.stopped:
            self.connected = True
            self._up()

    def execute(self) -> None:
        """The server executes what was sent first."""
        if self.sent:
            command, answer = self.sent.popleft()
            self.arriving.append((answer, self.redis.execute(self, command)))

    def arrive(self) -> None:
        """What is first on its way back arrives."""
        if self.arriving:
            what, value = self.arriving.popleft()
            if isinstance(what, Deferred):
                what.callback(value)
            else:
                assert self._received is not None
                self._received(what, value)

    def cut(self, late: bool) -> None:
        """
        The connection is lost, and whatever was on its way back.

        :param late: the server has got what was sent, and may execute it at any time.
        """
        if not self.connected:
            return
        self.connected = False
        self.subscribed.clear()
        sent, self.sent = self.sent, deque()
        arriving, self.arriving = self.arriving, deque()
        if late:
            self.redis.late += [command for command, _ in sent if command[0] == "EVALSHA"]
        for what, _ in arriving:
            if isinstance(what, Deferred):
                what.errback(StoreAway())
        for _, answer in sent:
            answer.errback(StoreAway())
        if not self.stopped:
            self._down()
