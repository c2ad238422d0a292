# SPDX-License-Identifier: Apache-2.0

"""
The writer of one shard: it makes one call at a time, at a tick, and sooner for followed channels.

Messages are collected during a call, so a slow shard gets fewer and larger batches. A call whose
answer was lost is repeated unchanged; the shard recognises a repeated call by the number of its
batch.
"""

from __future__ import annotations

from collections.abc import Callable, Container
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.interfaces import StoreAway
from logplex.redis.connection import Refused
from logplex.spool.cluster.shard.outbox import Outbox
from logplex.spool.cluster.wire.scripts import (
    APPEND,
    Batch,
    Origin,
    append_arguments,
    parse_appended,
)

_log = Logger()

#: So many channels a second are written before each waits longer for company. A channel in a call
#: costs Redis 6 to 12 µs and us 3, however few messages it has: these take a tenth of its core.
_CHANNELS_PER_S = 10_000

#: Run a script on the shard. May fail with :class:`StoreAway` or ``Refused``.
Run = Callable[..., Deferred[Any]]


@frozen
class WritingTimes:
    """
    The times that a writer waits before it writes messages to a shard.

    :ivar tick_s: the longest time that a message waits, if few channels get messages.
    :ivar tick_max_s: the longest time that a message waits, if many channels get messages.
    :ivar followed_tick_s: the longest time that a message of a channel with followers waits.
    :ivar followed_for_s: the time for which a channel still counts as followed after its last
        follower has left.
    :ivar retention_s: the time for which the shard keeps a channel without new messages.
    """

    tick_s: float = 0.05
    followed_tick_s: float = 0.01
    followed_for_s: float = 60.0
    retention_s: float = 604_800.0
    tick_max_s: float = 0.2


class ShardWriter:
    """
    Writes the batches of an outbox to a shard.

    :param prefix: the prefix of the names of publications.
    :param followed: the channels that this node follows.
    :param failed: called with the reason if the shard cannot take a batch; the writer is shut then.
    :param replaced: called with the keys that had another type and were replaced.
    """

    def __init__(
        self,
        outbox: Outbox,
        origin: Origin,
        prefix: str,
        times: WritingTimes,
        clock: IReactorTime,
        run: Run,
        followed: Container[str],
        failed: Callable[[str], None],
        replaced: Callable[[list[str]], None],
    ) -> None:
        self.outbox = outbox
        self._origin = origin
        self._prefix = prefix
        self._times = times
        self._clock = clock
        self._run = run
        self._followed = followed
        self._failed = failed
        self._replaced = replaced
        self._open = False
        self._calling = False
        self._due = False
        self._tick: IDelayedCall | None = None
        self._tick_s = times.tick_s
        self._followed_tick: IDelayedCall | None = None
        #: Channels that had listeners, and until when they count as having some.
        self._listened: dict[str, float] = {}
        self._waiters: list[tuple[int, Deferred[None]]] = []
        #: Batches above this number wait until they are let go.
        self._hold_above: int | None = None

    @property
    def is_open(self) -> bool:
        """True while the shard takes batches from this writer."""
        return self._open

    @property
    def is_behind(self) -> bool:
        """
        True if messages that arrived before the last call of :meth:`hold` are not written yet.
        """
        head = self.outbox.head
        return head is not None and head.number <= (self._hold_above or 0)

    def open(self) -> None:
        """Start writing to the shard, because the shard takes batches."""
        self._open = True
        self._pump()

    def shut(self) -> None:
        """
        Stop writing to the shard, because the shard takes no batches now. A call that is going on
        will be repeated.
        """
        self._open = False
        self._wake(all_of_them=True)

    def append(self, channel_id: str, messages: list[bytes], keep: bool) -> None:
        """Write messages of a channel to the shard at the channel's next tick."""
        self.outbox.append(channel_id, messages, keep)
        if channel_id in self._followed or channel_id in self._listened:
            if self._followed_tick is None:
                self._followed_tick = self._clock.callLater(
                    self._times.followed_tick_s, self._write_followed
                )
        elif self._tick is None:
            self._tick = self._clock.callLater(self._tick_s, self._write_all)

    def forget(self, channel_id: str) -> None:
        """Let the shard delete a channel."""
        self.outbox.forget(channel_id)
        self._write_all()

    def hold(self) -> None:
        """Hold back messages that arrive from now on, until :meth:`let_go` is called."""
        self.outbox.seal(force=True)
        self._hold_above = self.outbox.number

    def let_go(self) -> None:
        """Write the messages that :meth:`hold` has held back."""
        self._hold_above = None
        self._write_all()

    def written(self, channel_id: str) -> Deferred[None]:
        """
        Fire when the collected messages of a channel are written, or if they cannot be written now.
        """
        if not self._open:
            return succeed(None)
        if channel_id in self.outbox.collected:
            self.outbox.seal([channel_id], force=True)
        return self._when_written(self.outbox.last_batch_of(channel_id))

    def everything_written(self) -> Deferred[None]:
        """Fire when all collected messages are written, or if they cannot be written now."""
        self.outbox.seal(force=True)
        return self._when_written(self.outbox.number if self.outbox.head else 0)

    def stop(self) -> None:
        """Stop writing for good. Waiting messages are dropped and counted."""
        self.shut()
        for call in (self._tick, self._followed_tick):
            if call is not None and call.active():
                call.cancel()
        self.outbox.drop_all()

    def _when_written(self, number: int) -> Deferred[None]:
        if number == 0 or not self._open:
            return succeed(None)
        waiter: Deferred[None] = Deferred()
        self._waiters.append((number, waiter))
        self._pump()
        return waiter

    def _write_all(self) -> None:
        if self._tick is not None and self._tick.active():
            self._tick.cancel()
        self._tick = None
        self._due = True
        self._pump()

    def _write_followed(self) -> None:
        self._followed_tick = None
        if self._calling or self.outbox.head is not None:
            self._due = True
        else:
            now_s = self._clock.seconds()
            self._listened = {each: at for each, at in self._listened.items() if at > now_s}
            followed, listened = self._followed, self._listened
            self.outbox.seal(
                [each for each in self.outbox.collected if each in followed or each in listened]
            )
            if self.outbox.collected and self._tick is None:
                self._tick = self._clock.callLater(self._tick_s, self._write_all)
        self._pump()

    def _pump(self) -> None:
        """Write the next batch to the shard, unless a call is already going on."""
        if self._calling or not self._open:
            return
        if self.outbox.head is None and self._due:
            self._due = False
            wanted_s = len(self.outbox.collected) / _CHANNELS_PER_S
            self._tick_s = max(self._times.tick_s, min(wanted_s, self._times.tick_max_s))
            self.outbox.seal()
        batch = self.outbox.head
        if batch is None or (self._hold_above is not None and batch.number > self._hold_above):
            return
        self._calling = True
        arguments = append_arguments(
            self._origin, batch, self._prefix, self.outbox.bounds.kept, self._times.retention_s
        )
        call = self._run(APPEND, *arguments)
        call.addCallbacks(self._taken, self._not_taken, callbackArgs=(batch,), errbackArgs=(batch,))
        call.addErrback(self._bug)

    def _taken(self, answer: bytes | None, batch: Batch) -> None:
        self.outbox.done(self._followed)
        if answer is not None:
            followed, replaced = parse_appended(answer)
            until_s = self._clock.seconds() + self._times.followed_for_s
            for place in followed:
                self._listened[batch.pieces[place].channel_id] = until_s
            self._replaced(replaced)
        self._go_on()

    def _not_taken(self, failure: Failure, batch: Batch) -> None:
        if failure.check(StoreAway):
            self._calling = False
            self.shut()
            self._failed(failure.getErrorMessage())
            return
        failure.trap(Refused)
        self.outbox.drop()
        _log.error(
            "a shard refused {count} messages: {error}",
            count=batch.messages,
            error=failure.getErrorMessage(),
        )
        self._go_on()

    def _go_on(self) -> None:
        self._calling = False
        self._wake()
        self._pump()

    def _bug(self, failure: Failure) -> None:
        _log.failure("bug: writing to a shard failed", failure)
        self._go_on()

    def _wake(self, all_of_them: bool = False) -> None:
        """Fire the Deferreds that wait for written messages."""
        head = self.outbox.head
        waiters, self._waiters = self._waiters, []
        for number, waiter in waiters:
            if all_of_them or head is None or number < head.number:
                waiter.callback(None)
            else:
                self._waiters.append((number, waiter))
