# SPDX-License-Identifier: Apache-2.0

"""
A drain's buffer: a bounded queue of messages that drops the oldest, and counts exactly.

At any time ``received == delivered + dropped + buffered``. A message that was taken to be sent
counts as buffered until the message is delivered or lost.

Every drain has guaranteed room for some messages. Further messages go into the drain's overflow.
The bytes of the overflow are charged to a buffer that all drains of the node share (PROTOCOL §8).
"""

from __future__ import annotations

from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from math import inf

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.drains.delivery.courier import Loss
from logplex.interfaces import IOutlet
from logplex.metrics import Counters, Sample

_log = Logger()

#: More messages than any buffer holds.
NEVER = 1 << 62

#: The queue of every buffer that never held a message: one of its own takes 600 bytes.
_NOTHING: deque[bytes] = deque(maxlen=0)

#: The part of a notice of ours about a drain or a tail after its time and host.
_NOTICE_MARK = b" heroku logplex - "
_NOTICE_HEAD_BYTES = 128

#: The room that is made at a time when the shared buffer is full, so that the channel that uses
#: most of it need not be looked for with every message; in a small buffer it is a 64th.
_ROOM_BYTES = 65_536

#: A buffer remembers times of arrival, one in this time, and no more than this number.
_MARK_EVERY_S = 1.0
_MAX_MARKS = 64


def is_notice(message: bytes) -> bool:
    """Return true if a message is a notice that Logplex itself has written."""
    return _NOTICE_MARK in message[:_NOTICE_HEAD_BYTES]


@define(eq=False, repr=False)
class SharedBuffer:
    """
    The memory that all drains share for messages beyond the guaranteed number of each drain.

    When the shared memory is full, the channel whose drains use most of it drops its oldest
    messages.

    :ivar size_bytes: the size of the shared memory; 0 if drains hold only their guaranteed
        messages.
    """

    size_bytes: int
    used_bytes: int = field(default=0, init=False)
    _channels: dict[str, int] = field(factory=dict, init=False)
    _buffers: dict[str, set[Buffer]] = field(factory=dict, init=False)

    def samples(self) -> Iterator[Sample]:
        """Yield the size of the used part of the shared buffer, for metrics."""
        yield Sample(
            "logplex_drains_shared_buffer_bytes",
            "Bytes of messages that drains hold beyond those of which each is sure",
            self.used_bytes,
        )

    def has_room(self, size: int) -> bool:
        """Return true if the shared buffer has room for this number of bytes."""
        return self.used_bytes + size <= self.size_bytes

    def charge(self, buffer: Buffer, size: int) -> None:
        """
        Add the growth of a drain's overflow to the used bytes. Drop old messages if the shared
        buffer is full.

        :param size: the number of bytes by which the overflow has grown.
        """
        channel_id = buffer.channel_id
        self.used_bytes += size
        self._channels[channel_id] = self._channels.get(channel_id, 0) + size
        self._buffers.setdefault(channel_id, set()).add(buffer)
        if self.used_bytes > self.size_bytes:
            self._make_room()

    def release(self, buffer: Buffer, size: int) -> None:
        """Subtract the bytes that a drain's overflow has given up from the used bytes."""
        channel_id = buffer.channel_id
        self.used_bytes -= size
        self._channels[channel_id] -= size
        if not buffer.overflow_bytes:
            buffers = self._buffers[channel_id]
            buffers.discard(buffer)
            if not buffers:
                del self._buffers[channel_id], self._channels[channel_id]

    def _make_room(self) -> None:
        least = self.size_bytes - min(_ROOM_BYTES, self.size_bytes // 64)
        while self.used_bytes > least:
            most = max(self._channels, key=self._channels.__getitem__)
            largest = max(self._buffers[most], key=lambda each: each.overflow_bytes)
            largest.give_way(min(_ROOM_BYTES, self.used_bytes - least))


@implementer(IOutlet)
@define(eq=False, repr=False)
class Buffer:
    """
    The messages that wait for one drain, and the counts of all messages that the drain was given.

    :ivar limit: the number of waiting messages that are guaranteed.
    :ivar on_loss: called with the number of lost messages, not counting notices of Logplex.
    :ivar channel_id: the channel to which :attr:`shared` charges the overflow.
    :ivar wake: called when a push leaves ``wake_at`` messages or more. The running drain sets it.
    :ivar wake_at: the number of waiting messages that wakes the drain. The drain's lifecycle sets
        it.
    :ivar give_up: called before waiting messages are dropped, so that the courier first drops the
        older messages that the courier holds and is not sending.
    :ivar messages: the oldest waiting messages, the oldest first; couriers take messages from the
        left.
    :ivar overflow: the other waiting messages, which are newer; there are none unless ``messages``
        is full.
    :ivar in_flight: messages that were taken and are neither delivered nor lost.
    :ivar unparsable: the number of dropped messages that are not RFC 5424.
    :ivar loss: the messages that were lost since the receiver was last told of lost messages.
    """

    clock: IReactorTime
    counters: Counters
    limit: int
    on_loss: Callable[[int], None]
    channel_id: str = ""
    shared: SharedBuffer = field(factory=lambda: SharedBuffer(0))
    wake: Callable[[], None] = lambda: None
    wake_at: int = NEVER
    give_up: Callable[[], None] | None = None
    messages: deque[bytes] = _NOTHING
    overflow: deque[bytes] = _NOTHING
    overflow_bytes: int = 0
    in_flight: int = 0
    received: int = 0
    delivered: int = 0
    dropped: int = 0
    unparsable: int = 0
    loss: Loss | None = None
    keeps: bool = field(default=False, init=False)
    #: The number of messages received before a moment, and the moment.
    _marks: list[tuple[int, float]] = field(factory=list, init=False)

    @property
    def buffered(self) -> int:
        """The number of messages in the buffer that are neither delivered nor lost."""
        return len(self.messages) + len(self.overflow) + self.in_flight

    def oldest_s(self) -> float | None:
        """
        Return the age of the oldest buffered message, in seconds; ``None`` if the buffer is empty.
        The age is exact to a second if fewer than 64 messages arrive in a minute.
        """
        buffered = self.buffered
        if not buffered:
            return None
        mark = bisect_right(self._marks, (self.received - buffered, inf)) - 1
        return self.clock.seconds() - self._marks[max(0, mark)][1]

    def push(self, messages: list[bytes]) -> None:
        """See :class:`IOutlet`."""
        self._mark()
        self.received += len(messages)
        if self.overflow:
            if not self._refuse_notice(messages):
                self.overflow.extend(messages)
                self._charge(sum(map(len, messages)))
            return
        queue = self.messages
        if queue is _NOTHING:
            queue = self.messages = deque()
        queue.extend(messages)
        if len(queue) >= self.wake_at:
            # Before messages are dropped: a lingering drain takes a batch, and makes room.
            try:
                self.wake()
            except Exception:
                _log.failure("bug: a drain failed when it was given messages")
        if len(queue) > self.limit:
            if self._refuse_notice(messages):
                queue.pop()
            else:
                self._spill()

    def took(self, count: int, unparsable: int = 0) -> None:
        """
        Count messages that the courier has taken from the queue.

        :param count: the number of messages that are sent now.
        :param unparsable: the number of messages that cannot be sent, and are dropped.
        """
        self.in_flight += count
        if unparsable:
            self.unparsable += unparsable
            self._count_dropped(unparsable)
        if self.overflow:
            self._refill()

    def deliver(self, count: int) -> None:
        """Count sent messages as delivered."""
        self.in_flight -= count
        self.delivered += count
        self.counters.drain_delivered += count

    def lose(self, formatted: Iterable[bytes]) -> None:
        """Count sent messages as lost, because they will not be delivered."""
        self.in_flight -= self._lose(formatted)

    def identify(self, offset: int, count: int) -> None:
        """
        See :meth:`Supply.identify`. Return ``None``, because a lost batch is never made again.
        """

    def refuse(self, formatted: list[bytes]) -> bool:
        """See :meth:`Supply.refuse`. The refused message is lost."""
        self.lose(formatted)
        return True

    def told(self, loss: Loss | None) -> None:
        """See :meth:`Supply.told`."""

    def put_back(self, messages: list[bytes]) -> None:
        """Put messages that were not delivered back at the front of the queue."""
        self.in_flight -= len(messages)
        if self.messages is _NOTHING:
            self.messages = deque()
        self.messages.extendleft(reversed(messages))
        if len(self.messages) > self.limit:
            self._spill()

    def clear(self) -> int:
        """Drop all waiting messages. Return the number of dropped messages."""
        count = self._lose(self.messages) + self._lose(self.overflow)
        self.messages.clear()
        self.overflow.clear()
        self._release(self.overflow_bytes)
        return count

    def give_way(self, size: int) -> None:
        """Drop the oldest messages until the overflow has shrunk by ``size`` bytes, or is empty."""
        left = self.overflow_bytes - size
        if self.give_up:
            self.give_up()
        lost: list[bytes] = []
        while self.overflow and self.overflow_bytes > left:
            count, excess = 0, self.overflow_bytes - left
            for message in islice(self.overflow, len(self.messages)):
                count += 1
                excess -= len(message)
                if excess <= 0:
                    break
            lost += [self.messages.popleft() for _ in range(count)]
            self._refill()
        self._lose(lost)

    def take_loss(self) -> Loss | None:
        """
        Return the lost messages of which the receiver can be told now.

        If the receiver cannot be told, the caller must call :meth:`return_loss`.
        """
        loss, self.loss = self.loss, None
        return loss

    def return_loss(self, loss: Loss | None) -> None:
        """Record lost messages again, because the receiver could not be told of them."""
        if loss:
            later = self.loss.count if self.loss else 0
            self.loss = Loss(loss.count + later, loss.since)

    def _refuse_notice(self, messages: list[bytes]) -> bool:
        """
        Drop a notice of Logplex if the shared buffer has no room, so that the notice pushes out no
        other message. Return true if a notice was dropped.
        """
        notice = messages[0]
        if len(messages) > 1 or not is_notice(notice) or self.shared.has_room(len(notice)):
            return False
        self._lose(messages)
        return True

    def _spill(self) -> None:
        """Move the newest messages beyond the guaranteed number into the overflow."""
        if self.overflow is _NOTHING:
            self.overflow = deque()
        size = 0
        for _ in range(len(self.messages) - self.limit):
            message = self.messages.pop()
            self.overflow.appendleft(message)
            size += len(message)
        self._charge(size)

    def _refill(self) -> None:
        """Move the oldest messages from the overflow into free places of the queue."""
        count = min(self.limit - len(self.messages), len(self.overflow))
        moved = list(islice(self.overflow, count))
        for _ in moved:
            self.overflow.popleft()
        self.messages.extend(moved)
        self._release(sum(map(len, moved)))

    def _charge(self, size: int) -> None:
        self.overflow_bytes += size
        self.shared.charge(self, size)

    def _release(self, size: int) -> None:
        if size:
            self.overflow_bytes -= size
            self.shared.release(self, size)

    def _mark(self) -> None:
        """Remember the time at which a message arrives, for :meth:`oldest_s`."""
        now = self.clock.seconds()
        marks = self._marks
        if not (self.messages or self.in_flight):
            marks.clear()
        elif now - marks[-1][1] < _MARK_EVERY_S:
            return
        elif len(marks) >= _MAX_MARKS:
            gone = self.received - self.buffered
            del marks[: max(0, bisect_right(marks, (gone, inf)) - 1)]
            if len(marks) >= _MAX_MARKS:
                del marks[1::2]
        marks.append((self.received, now))

    def _lose(self, messages: Iterable[bytes]) -> int:
        count = tellable = 0
        for message in messages:
            count += 1
            tellable += not is_notice(message)
        if count:
            self._count_dropped(count)
            since = self.loss.since if self.loss else wall_s(self.clock)
            self.loss = Loss(count + (self.loss.count if self.loss else 0), since)
        if tellable:
            self.on_loss(tellable)
        return count

    def _count_dropped(self, count: int) -> None:
        self.dropped += count
        self.counters.drain_dropped += count
