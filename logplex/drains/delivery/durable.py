# SPDX-License-Identifier: Apache-2.0

"""
The buffer of a durable drain: its messages stay in the journal until the receiver has them.

It holds the messages of one claim at a time, in order, and moves the position in the journal when
they are delivered or lost. A message that is refused alone is set aside, and tried once more after
a later message was accepted. So a wrong key, which many receivers answer with 400, costs no
message (PROTOCOL §12).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from itertools import islice

from attrs import asdict, define, field
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from logplex.clock import wall_s
from logplex.drains.delivery.buffer import NEVER, is_notice
from logplex.drains.delivery.claims import (
    JournalPlace,
    claim_next,
    frame_id,
    read_asides,
    written,
)
from logplex.drains.delivery.courier import Loss
from logplex.interfaces import DrainStatus, DurableStatus
from logplex.journal.backlog import Backlog
from logplex.journal.journal import Journal
from logplex.journal.values import Rows
from logplex.metrics import Counters
from logplex.syslog.message import has_head

_log = Logger()

#: Messages that are set aside in a row before the drain begins again with the first of them.
MAX_ASIDE = 10


@define(eq=False, repr=False)
class DurableBuffer:
    """
    The messages of a durable drain, from the journal; see
    :class:`~logplex.drains.delivery.courier.Supply`.

    :ivar drain_token: the token of the drain. Notices about this drain are not sent to its
        receiver.
    :ivar on_loss: called with the number of messages that the journal gave up.
    :ivar messages: messages of the claim that are not under way yet, or one that is tried again.
    :ivar in_flight: the number of messages under way.
    """

    clock: IReactorTime
    counters: Counters
    drain_token: str
    on_loss: Callable[[int], None]
    backlog: Backlog = field(init=False)
    journal_id: str = field(default="", init=False)
    _sync: Callable[[], Deferred[None]] = field(init=False)
    wake: Callable[[], None] = lambda: None
    wake_at: int = NEVER
    give_up: Callable[[], None] | None = None
    limit: int = 1 << 30
    overflow_bytes: int = 0
    messages: deque[bytes] = field(factory=deque)
    in_flight: int = 0
    delivered: int = 0
    dropped: int = 0
    unparsable: int = 0
    keeps: bool = field(default=True, init=False)
    _claimed: Rows = field(factory=list, init=False)
    #: Messages of the claim that are not settled, in order; the first may be under way.
    _places: deque[JournalPlace] = field(factory=deque, init=False)
    _aside: deque[JournalPlace] = field(factory=deque, init=False)
    #: The message that was set aside and is tried again now.
    _again: JournalPlace | None = field(default=None, init=False)
    #: Fires when rows have come, or when the claim is settled; whichever :meth:`_feed` waits for.
    _awaited: Deferred[None] | None = field(default=None, init=False)
    _feeding: Deferred[None] = field(init=False)
    #: The time at which rows came while nothing was claimed, in seconds since the epoch.
    _rows_since_s: float | None = field(default=None, init=False)
    _stopped: bool = field(default=False, init=False)
    _held: bool = field(default=False, init=False)
    #: Messages of the channel from this number on are for the buffer that takes its place.
    _until: int = field(default=1 << 62, init=False)
    _retire: Callable[[], Callable[[], None]] | None = field(default=None, init=False)

    def open(
        self,
        journal: Journal,
        name: str,
        channel_id: str,
        after: Deferred[None] | None = None,
    ) -> None:
        """
        Begin to read the journal at the drain's earlier position, or else at the end of the
        channel's rows.

        :param after: no message is offered before this fires.
        """
        self.journal_id = journal.stored.id
        self._sync = journal.sync
        self.backlog = journal.backlog(name, channel_id, self)
        self._feeding = Deferred.fromCoroutine(self._feed(after)).addErrback(_ended)

    def retire(self, begin: Callable[[], Callable[[], None]]) -> None:
        """
        Deliver the rest of the backlog, then end: the drain is not durable from then on.

        :param begin: called when the last rows of the backlog are claimed, because a busy channel
            always has newer ones; then its messages go to another buffer. The function that it
            returns is called when the last message before that is delivered.
        """
        self._retire = begin
        if not self._places:
            self._go_on()

    def hold(self, held: bool) -> None:
        """
        Send no more messages while ``held`` is true. The positions in the journal do not change.
        """
        self._held = held
        self._offer()

    def stay(self) -> None:
        """Stay durable, unless :meth:`retire` has already reached the end of the backlog."""
        self._retire = None

    # For the status.

    @property
    def buffered(self) -> int:
        """The number of messages in the journal that are neither delivered nor given up."""
        return self.backlog.messages + len(self.backlog.asides)

    @property
    def received(self) -> int:
        """The number of messages that this drain has received since the node started."""
        return self.delivered + self.dropped + self.buffered

    def oldest_s(self) -> float | None:
        """Return the age of the oldest message of the backlog, in seconds; ``None`` if empty."""
        aside = [*self._aside, self._again] if self._again else [*self._aside]
        written = [each.row.at_s for each in (*aside, *islice(self._places, 1))]
        if not self._places and self._rows_since_s is not None and self.backlog.messages:
            written.append(self._rows_since_s)
        return wall_s(self.clock) - min(written) if written else None

    def lag(self, status: DrainStatus) -> DurableStatus:
        """Return a status with the size of the backlog added."""
        return DurableStatus(
            **asdict(status),
            lag_messages=self.buffered,
            lag_bytes=self.backlog.bytes,
            lag_s=self.oldest_s(),
            in_flight=self.in_flight,
            set_aside=len(self.backlog.asides),
        )

    # From the journal: see BacklogReader.

    def rows_came(self) -> None:
        """See :class:`~logplex.journal.backlog.BacklogReader`."""
        if not self._places:
            if self._rows_since_s is None:
                self._rows_since_s = wall_s(self.clock)
            self._go_on()

    def gave_up(self, count: int, since_s: float) -> None:
        """See :class:`~logplex.journal.backlog.BacklogReader`."""
        self.dropped += count
        self.counters.drain_dropped += count
        self.on_loss(count)

    # For couriers: see Supply.

    def identify(self, offset: int, count: int) -> bytes | None:
        """See :meth:`Supply.identify`. The same messages have the same id after any crash."""
        is_again = self._again is not None and self.in_flight == 1
        first = last = self._again
        if not is_again or first is None or last is None:
            first, last = self._places[offset], self._places[offset + count - 1]
        return frame_id(self.journal_id, self.drain_token, first, last, is_again)

    def took(self, count: int, unparsable: int = 0) -> None:
        """See :meth:`Supply.took`. Only messages that can be sent are in the queue."""
        self.in_flight += count

    def deliver(self, count: int) -> None:
        """See :meth:`Supply.deliver`."""
        self.in_flight -= count
        self.delivered += count
        self.counters.drain_delivered += count
        if self._again is not None:
            self._tried_again()
            return
        if self._aside and not self.in_flight:
            self._again = self._aside.popleft()
        self._settle(count)

    def lose(self, formatted: Iterable[bytes]) -> None:
        """See :meth:`Supply.lose`."""
        count = sum(1 for _ in formatted)
        self.in_flight -= count
        self.backlog.lose(count, wall_s(self.clock))
        self._settle(count)

    def refuse(self, formatted: list[bytes]) -> bool:
        """
        See :meth:`Supply.refuse`. The message is set aside. If it is refused again, it is given up.
        """
        self.in_flight -= 1
        if self._again is not None:
            self.backlog.lose(1, wall_s(self.clock))
            self._tried_again()
            return True
        self._aside.append(self._places[0])
        if len(self._aside) < MAX_ASIDE:
            self._note_asides()
            self._settle(1)
            return True
        first = self._aside[0]
        self._aside.clear()
        self.in_flight = 0
        self._note_asides()
        self.backlog.rewind(first.row, first.place)
        self._places.clear()
        self.messages.clear()
        self._go_on()
        return False

    def put_back(self, messages: list[bytes]) -> None:
        """See :meth:`Supply.put_back`."""
        self.in_flight -= len(messages)
        self._offer()

    def clear(self) -> int:
        """Stop the drain without losing messages. Return 0, the number of lost messages."""
        self._stopped = True
        self.messages.clear()
        self._awaited = None
        self._feeding.cancel()
        return 0

    def take_loss(self) -> Loss | None:
        """See :meth:`Supply.take_loss`. The journal keeps the loss until :meth:`told` is called."""
        position = self.backlog.position
        return Loss(position.lost_count, position.lost_since_s) if position.lost_count else None

    def return_loss(self, loss: Loss | None) -> None:
        """See :meth:`Supply.return_loss`. Do nothing, because the journal has kept the loss."""

    def told(self, loss: Loss | None) -> None:
        """See :meth:`Supply.told`."""
        if loss is not None:
            self.backlog.told(loss.count)

    # The claim.

    async def _feed(self, after: Deferred[None] | None) -> None:
        """Claim the next rows and offer their messages, again and again, until the drain stops."""
        if after is not None:
            await after
        self._aside.extend(await read_asides(self.backlog, self.clock))
        finish: Callable[[], None] | None = None
        is_written = False
        while True:
            rows = await claim_next(self.backlog, self.clock)
            if finish is None and self._retire is not None and self._is_end(rows):
                finish = self._retire()
                self._until = self.backlog.came
            if not rows and finish is None:
                await self._wait()
                continue
            if finish is not None:
                is_over = is_written if not rows else rows[0].before_count >= self._until
                if is_over and not self._try_asides():
                    finish()
                    return
                if is_over:
                    await self._wait()
                    continue
                if not rows:
                    await written(self._sync, self.clock)
                    is_written = True
                    continue
            self._claimed = rows
            self._rows_since_s = None
            self._places.extend(self._sendable(rows))
            if not self._places:
                self._settle(0)
                continue
            self._offer()
            await self._wait()

    def _is_end(self, rows: Rows) -> bool:
        """Return true if no row is behind a claim."""
        return not rows or rows[-1].after_count >= self.backlog.channel.next_count

    def _wait(self) -> Deferred[None]:
        self._awaited = Deferred()
        return self._awaited

    def _go_on(self) -> None:
        awaited, self._awaited = self._awaited, None
        if awaited is not None:
            awaited.callback(None)

    def _sendable(self, rows: Rows) -> Iterator[JournalPlace]:
        """
        Yield the messages in these rows that the drain can send, except notices about the drain.
        """
        position = self.backlog.position
        about = self.drain_token.encode("utf-8")
        for row in rows:
            done = position.place if row.number == position.row else 0
            begin = max(done, self.backlog.begins_at - row.before_count)
            end = min(len(row.messages), self._until - row.before_count)
            for place in range(begin, end):
                message = row.messages[place]
                if not has_head(message):
                    self.dropped += 1
                    self.unparsable += 1
                    self.counters.drain_dropped += 1
                elif not (is_notice(message) and about in message):
                    yield JournalPlace(row, place)

    def _offer(self) -> None:
        """
        Put the messages that are not being sent into the queue. A message that is tried again goes
        alone.
        """
        if self._stopped:
            return
        if self._held:
            self.messages.clear()
            return
        if self._again is not None:
            self.messages = deque([] if self.in_flight else [self._again.message])
        else:
            self.messages = deque(
                each.message for each in islice(self._places, self.in_flight, None)
            )
        if self.messages and len(self.messages) >= self.wake_at:
            self.wake()

    def _settle(self, count: int) -> None:
        """Move the position in the journal past this number of messages."""
        for _ in range(count):
            self._places.popleft()
        if self._places:
            following = self._places[0]
            self.backlog.advance(following.row, following.place)
            if self._again is not None:
                self._offer()
            return
        last = self._claimed[-1]
        self.backlog.advance(last, len(last.messages))
        self.backlog.release()
        if self._again is not None:
            self._offer()
        else:
            self._go_on()

    def _tried_again(self) -> None:
        """Continue with the next refused message, or else with the claim."""
        self._again = self._aside.popleft() if self._aside else None
        self._note_asides()
        if self._again is not None or self._places:
            self._offer()
        else:
            self._go_on()

    def _try_asides(self) -> bool:
        """Try what is set aside at the end of the backlog. Return true while there is some."""
        if self._again is None and self._aside:
            self._again = self._aside.popleft()
            self._offer()
        return self._again is not None

    def _note_asides(self) -> None:
        aside = [*self._aside, self._again] if self._again else self._aside
        self.backlog.set_aside((each.row.number, each.place) for each in aside)


def _ended(failure: Failure) -> None:
    if not failure.check(CancelledError):
        _log.failure("bug: a durable drain ended", failure)
