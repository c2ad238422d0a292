# SPDX-License-Identifier: Apache-2.0

"""
A model of a Redis shard: what its scripts do, one step at a time, over connections that a test
may cut between any two steps. The real thing is in ``tests/integration``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from itertools import count
from typing import Any

import msgpack
from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed

from logplex.interfaces import StoreAway
from logplex.spool.cluster.wire.scripts import APPEND, FORGET, KEEP, OPEN, RAISE

KEPT = 1_500

_processes = count(1)


#: Starts of a node that a shard remembers.
_STARTS = 8
#: What stands in a key that somebody else has filled.
FOREIGN = ["something else"]


@define
class ModelEntry:
    """An entry of a stream, as :data:`APPEND` writes it."""

    last: int
    count: int
    payload: bytes
    before: int
    origin: bytes
    gone: int


@define
class ModelStream:
    """A stream, and the highest number that it ever had."""

    entries: list[ModelEntry] = field(factory=list)
    last: int = 0


@define
class ModelState:
    """The value of a sequence; see ``append.lua``. Here a stream gets its time at every write."""

    last: int = 0
    entry: int = 0
    gone: int = 0
    #: The number of the first entry of each stretch, and how many messages it has.
    stretches: list[tuple[int, int]] = field(factory=list)
    is_open: bool = False


class ModelRedis:
    """
    The state of a shard.

    :ivar keys: hashes are dicts; an ``int`` is the sequence of an older version.
    :ivar expires_us: of keys, by the clock of this Redis.
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
        self.keys: dict[bytes, Any] = {}
        self.expires_us: dict[bytes, int] = {}
        for link in self.links:
            link.cut(late=False)

    def execute(self, link: ModelLink | None, command: tuple[Any, ...]) -> Any:
        self.pass_time(100)
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
        if command[0] == ["MULTI"]:
            return self.read(command)
        assert command[0] == "EVALSHA"
        script = {each.sha: each for each in (OPEN, APPEND)}[command[1]]
        arguments = command[3:]
        if script is OPEN:
            return self.open(*arguments)
        return self.append(*arguments)

    def pass_time(self, us: int) -> None:
        """Let the clock go on, and keys expire."""
        self.now_us += us
        for key, at_us in list(self.expires_us.items()):
            if at_us <= self.now_us:
                del self.expires_us[key]
                self.keys.pop(key, None)

    def open(self, run: bytes, prefix: str) -> int:
        """Do what ``open.lua`` does."""
        replaced = int(not isinstance(self.keys.get(_SHARD, {}), dict))
        if replaced:
            del self.keys[_SHARD]
        shard = self.keys.setdefault(_SHARD, {})
        if shard.get(b"run") != run:
            shard[b"floor"] = max(self.now_us, _number(shard.get(b"floor")))
        shard[b"run"] = run
        return replaced

    def append(
        self,
        node: bytes,
        start: bytes,
        number: int,
        prefix: str,
        kept: int,
        retention_s: int,
        raised: int,
        heads: bytes,
        *payloads: bytes,
    ) -> bytes | None:
        """Do what ``append.lua`` does."""
        replaced: list[bytes] = []
        batches = self._hash(b"logplex:batches:" + node, replaced)
        if number <= _number(batches.get(start)):
            return None
        batches[start] = number
        for old in sorted(batches)[:-_STARTS]:
            del batches[old]
        floor = max(1, _number(self._hash(_SHARD, replaced).get(b"floor")))
        origin = b"%d %b %b" % (number, start, node)
        followed = []
        unpacked = msgpack.unpackb(heads, raw=True)
        for place, ((channel, flags, size, lost), payload) in enumerate(
            zip(unpacked, payloads, strict=True), 1
        ):
            count = int(size)
            before = self._append_one(
                channel, flags, count, lost, payload, origin, floor, raised, kept, replaced
            )
            lives_us = retention_s * 1_000_000
            self.expires_us[b"log:" + channel] = self.now_us + lives_us
            self.expires_us[b"seq:" + channel] = self.now_us + 2 * lives_us
            name = prefix.encode() + channel
            followers = [link for link in self.links if name in link.subscribed]
            if count and followers:
                followed.append(place)
                head = b"%d %d %b\n" % (self.keys[b"seq:" + channel].last, before, origin)
                for link in followers:
                    link.arriving.append((name, head + payload))
        packed: bytes = msgpack.packb([followed, replaced], use_bin_type=False)
        return packed

    def _append_one(
        self,
        channel: bytes,
        flags: int,
        count: int,
        lost: int,
        payload: bytes,
        origin: bytes,
        floor: int,
        raised: int,
        kept: int,
        replaced: list[bytes],
    ) -> int:
        """Append one piece; return the channel's number before it."""
        sequence, name = b"seq:" + channel, b"log:" + channel
        state, least = self.keys.get(sequence), floor
        if isinstance(state, int):
            state = ModelState(state)
            state.entry, _ = self._newest(name, replaced)
        elif not isinstance(state, ModelState):
            if state is not None:
                replaced.append(sequence)
            state = ModelState()
            state.entry, state.last = self._newest(name, replaced)
            least = max(least, state.last + 1)
        if flags & FORGET:
            self.keys.pop(name, None)
            state = ModelState(state.last)
        before = state.last
        if count:
            if flags & RAISE:
                least = max(least, raised)
            last = before if before >= least else max(self.now_us, least)
            state.last = last + lost + count
            if lost:
                before = state.last - count
                state.gone += lost
            if flags & KEEP:
                self._add(name, state, count, lost, payload, origin, kept, replaced)
            else:
                state.gone += count
        if state.last:
            self.keys[sequence] = state
        else:
            self.keys.pop(sequence, None)
        return before

    def _add(
        self,
        name: bytes,
        state: ModelState,
        count: int,
        lost: int,
        payload: bytes,
        origin: bytes,
        kept: int,
        replaced: list[bytes],
    ) -> None:
        stream = self.keys.get(name)
        if stream is not None:
            entry, ahead = self._newest(name, replaced)
            if ahead >= state.last:
                state.entry, state.last = entry, ahead + lost + count
        stream = self.keys.setdefault(name, ModelStream())
        stream.entries.append(
            ModelEntry(state.last, count, payload, state.entry, origin, state.gone)
        )
        state.entry = stream.last = state.last
        state.gone = 0
        if not state.is_open:
            state.stretches.append((state.last, 0))
        first, held = state.stretches.pop()
        state.stretches.append((first, held + count))
        state.is_open = held + count < -(-kept // 10)
        if not state.is_open:
            while sum(size for _, size in state.stretches[1:]) >= kept:
                del state.stretches[0]
                oldest = state.stretches[0][0]
                stream.entries = [each for each in stream.entries if each.last >= oldest]

    def _newest(self, name: bytes, replaced: list[bytes]) -> tuple[int, int]:
        stream = self.keys.get(name)
        if stream is None:
            return 0, 0
        if not isinstance(stream, ModelStream):
            del self.keys[name]
            replaced.append(name)
            return 0, 0
        return (stream.entries[-1].last if stream.entries else 0), stream.last

    def _hash(self, name: bytes, replaced: list[bytes]) -> dict[bytes, Any]:
        if not isinstance(self.keys.get(name, {}), dict):
            del self.keys[name]
            replaced.append(name)
        found: dict[bytes, Any] = self.keys.setdefault(name, {})
        return found

    def read(self, commands: Sequence[Any]) -> list[Any]:
        """Do what the commands of :func:`reading` do."""
        _, (_, sequence), (_, batches, start), (_, stream, after, _), _ = commands
        state = self.keys.get(sequence.encode())
        hashed = self.keys.get(batches, {})
        own = hashed.get(start) if isinstance(hashed, dict) else None
        kept = self.keys.get(stream.encode())
        floor = {b"+": 1 << 63, b"-": 0}.get(after) or int(after.strip(b"(+-") or 0)
        entries = kept.entries if isinstance(kept, ModelStream) else []
        return [
            *[b"OK"] * 4,
            [
                b"%d 0 0 0 0" % state.last if isinstance(state, ModelState) else _decimal(state),
                None if own is None else b"%d" % own,
                [_shown(entry) for entry in entries if entry.last > floor],
            ],
        ]


_SHARD = b"logplex:shard"


def _number(value: Any) -> int:
    return int(value or 0)


def _decimal(value: Any) -> bytes | None:
    return b"%d" % value if isinstance(value, int) else None


def _shown(entry: ModelEntry) -> list[Any]:
    """An entry as ``XRANGE`` gives it."""
    fields = [b"n", b"%d" % entry.count, b"m", entry.payload, b"b", b"%d" % entry.before]
    fields += [b"o", entry.origin]
    if entry.gone:
        fields += [b"g", b"%d" % entry.gone]
    return [b"%d-0" % entry.last, fields]


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

    def ask_all(self, commands: Sequence[Any]) -> Deferred[list[Any]]:
        return self.ask(*commands)

    def asked(self, name: str) -> bool:
        """Return true if a command of this name is on its way to the server."""
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
        """Let the oldest reply that is on its way arrive."""
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
