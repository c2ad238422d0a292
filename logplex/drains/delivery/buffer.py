"""
A drain's buffer: a bounded queue of messages that drops the oldest, and counts exactly.

At any time ``received == delivered + dropped + buffered``, where what a drain has taken and has
not seen delivered is still buffered.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable

from attrs import define, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from zope.interface import implementer

from logplex.interfaces import IOutlet
from logplex.metrics import Counters

_log = Logger()

#: More messages than any buffer holds.
NEVER = 1 << 62

#: The queue of every buffer that never held a message: one of its own takes 600 bytes.
_NOTHING: deque[bytes] = deque(maxlen=0)

#: What a notice of ours about a drain or a tail has after its time and host, cooked or formatted.
_NOTICE_MARK = b" heroku logplex - "
_NOTICE_HEAD_BYTES = 128


@frozen
class Loss:
    """So many messages were lost, the first of them at this time (seconds since the epoch)."""

    count: int
    since: float


@implementer(IOutlet)
@define(eq=False, repr=False)
class Buffer:
    """
    What waits for one drain, and what became of everything that it was given.

    :ivar limit: how many messages may wait; a smaller one takes effect at once.
    :ivar on_loss: told how many messages were lost that are not themselves notices of ours.
    :ivar wake: called when a push leaves ``wake_at`` messages or more; set by whoever sends.
    :ivar messages: what waits, the oldest first; senders take from the left.
    :ivar in_flight: messages that were taken and are neither delivered nor lost.
    :ivar unparsable: of the dropped ones, those that are no RFC 5424 message.
    :ivar loss: what was lost since the receiver was last told.
    """

    clock: IReactorTime
    counters: Counters
    limit: int
    on_loss: Callable[[int], None]
    wake: Callable[[], None] = lambda: None
    wake_at: int = NEVER
    messages: deque[bytes] = _NOTHING
    in_flight: int = 0
    received: int = 0
    delivered: int = 0
    dropped: int = 0
    unparsable: int = 0
    loss: Loss | None = None

    @property
    def buffered(self) -> int:
        """What is not yet delivered or lost."""
        return len(self.messages) + self.in_flight

    def push(self, messages: list[bytes]) -> None:
        """See :class:`IOutlet`."""
        queue = self.messages
        if queue is _NOTHING:
            queue = self.messages = deque()
        queue.extend(messages)
        self.received += len(messages)
        if len(queue) >= self.wake_at:
            # Before anything is dropped: a drain that lingers takes a batch, and makes room.
            try:
                self.wake()
            except Exception:
                _log.failure("bug: a drain failed when it was given messages")
        if len(queue) > self.limit:
            self._drop_oldest()

    def resize(self, limit: int) -> None:
        """Hold so many messages from now on."""
        self.limit = limit
        self._drop_oldest()

    def took(self, count: int, unparsable: int = 0) -> None:
        """So many left the queue and are under way; besides, some cannot be sent at all."""
        self.in_flight += count
        self.unparsable += unparsable
        self._count_dropped(unparsable)

    def deliver(self, count: int) -> None:
        """So many of those under way have arrived."""
        self.in_flight -= count
        self.delivered += count
        self.counters.drain_delivered += count

    def lose(self, formatted: Iterable[bytes]) -> None:
        """These, which were under way, will not arrive."""
        self.in_flight -= self._lose(formatted)

    def put_back(self, messages: list[bytes]) -> None:
        """These, which were under way, wait again, before all others."""
        self.in_flight -= len(messages)
        if self.messages is _NOTHING:
            self.messages = deque()
        self.messages.extendleft(reversed(messages))
        self._drop_oldest()

    def clear(self) -> int:
        """Nobody will send what waits. How many that were."""
        count = self._lose(self.messages)
        self.messages.clear()
        return count

    def take_loss(self) -> Loss | None:
        """What the receiver should be told now. Who fails to tell gives it back."""
        loss, self.loss = self.loss, None
        return loss

    def return_loss(self, loss: Loss | None) -> None:
        """The receiver was not told of this."""
        if loss:
            later = self.loss.count if self.loss else 0
            self.loss = Loss(loss.count + later, loss.since)

    def _drop_oldest(self) -> None:
        queue = self.messages
        excess = len(queue) - self.limit
        if excess > 0:
            self._lose([queue.popleft() for _ in range(excess)])

    def _lose(self, messages: Iterable[bytes]) -> int:
        count = tellable = 0
        for message in messages:
            count += 1
            tellable += _NOTICE_MARK not in message[:_NOTICE_HEAD_BYTES]
        if count:
            self._count_dropped(count)
            since = self.loss.since if self.loss else self.clock.seconds()
            self.loss = Loss(count + (self.loss.count if self.loss else 0), since)
        if tellable:
            self.on_loss(tellable)
        return count

    def _count_dropped(self, count: int) -> None:
        self.dropped += count
        self.counters.drain_dropped += count
