# SPDX-License-Identifier: Apache-2.0

"""
Pass the live messages of one channel from the spool to the groups of tails on this node.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.interfaces import IFollower, ISpool, Recent
from logplex.live import Live
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.syslog.notices import gap_line, l15_line
from logplex.tails.group import BLOCK_BYTES, Group, Reader
from logplex.tails.tail import Tail
from logplex.tails.view import Filter, Filters, View, blocks

#: The time for which messages wait for company. The first one after a quiet moment goes out at
#: once. Measured in ``bench/tails.py``.
LINGER_S = 0.01
#: The additional time for each reader: writing to one costs some 15 µs, however much is written,
#: and thousands of them must not keep the node from everything else.
LINGER_PER_READER_S = 0.000_05


@implementer(IFollower)
@define(eq=False, repr=False)
class TailedChannel:
    """
    Pass the live messages of one channel to all tails of the channel on this node.

    :param unused: the function to call when the last tail of the channel has ended.
    :ivar is_away: true while the spool cannot be reached; until then, tails get only the messages
        that this node receives.
    """

    channel_id: str
    spool: ISpool
    clock: IReactorTime
    limits: Live[Limits]
    counters: Counters
    unused: Callable[[TailedChannel], None]
    is_away: bool = False
    #: The tails that wait for their past.
    _joining: dict[Tail, None] = field(factory=dict)
    _groups: dict[View, Group] = field(factory=dict)
    _filters: Filters = field(factory=Filters)
    #: Live messages that the groups have not been told of, in order: number of the first, messages.
    _pending: list[tuple[int | None, list[bytes]]] = field(factory=list)
    _timer: IDelayedCall | None = None
    #: The newest number that the groups have been told of.
    _last: int = 0
    #: The newest number that this channel has been told of.
    _newest: int = 0

    # Called for readers.

    async def join(self, tail: Tail) -> Recent | None:
        """
        Read the recent messages of the channel for a new tail.

        :return: the recent messages, or ``None`` if the tail ended meanwhile. The caller must call
            :meth:`enter` for the tail at once, before any other ``await``.
        """
        recent = None
        self._joining[tail] = None
        try:
            recent = await self.spool.join(self.channel_id, self)
        finally:
            del self._joining[tail]
            if recent is None or tail.is_over:
                self._close_if_unused()
        return None if tail.is_over else recent

    def enter(self, tail: Tail) -> None:
        """
        Add a tail to the group with its filters. The tail is shown every message that arrives from
        now on.
        """
        # The waiting messages are in the past of the tail.
        self._publish()
        tail.group = self._group(tail.view)
        tail.group.enter(tail)

    def __len__(self) -> int:
        return len(self._joining) + sum(map(len, self._groups.values()))

    def readers(self) -> list[Reader]:
        """
        Return all tails of the channel, including the tails whose recent messages are still being
        read.
        """
        live = [reader for group in self._groups.values() for reader in group.readers()]
        return [*self._joining, *live]

    def end(self, notice: bytes = b"") -> None:
        """
        End every tail of the channel.

        :param notice: the last line that each tail shows.
        """
        self._publish()
        for reader in self.readers():
            reader.end(notice)

    # Called by the spool.

    def received(self, first: int | None, messages: list[bytes]) -> None:
        """Pass new messages to the groups; :class:`IFollower` explains the parameters."""
        if first is not None and first <= self._newest:
            self._begin_again()
        self._newest = self._newest if first is None else first + len(messages) - 1
        self._keep(first, messages)
        if self._timer is None:
            self._publish()
            self._set_timer()

    def interrupted(self) -> None:
        """Tell all tails that the spool cannot be reached."""
        self.is_away = True
        self._tell(l15_line(wall_s(self.clock)))

    def resumed(self) -> None:
        """Remember that the spool can be reached again."""
        self.is_away = False

    def missed(self) -> None:
        """Tell all tails that messages may be missing at this place."""
        self._tell(gap_line(wall_s(self.clock)))

    # Internals.

    def _begin_again(self) -> None:
        """
        Forget the highest message number, because the spool has begun to number the messages again
        from a lower number.
        """
        self._publish()
        self._last = 0
        for group in list(self._groups.values()):
            group.begin_again()

    def _group(self, view: View) -> Group:
        group = self._groups.get(view)
        if group is None:
            self._filters.add(view.filter)
            group = self._groups[view] = Group(
                view=view,
                counters=self.counters,
                now=partial(wall_s, self.clock),
                limits=self.limits,
                last=lambda: self._last,
                emptied=self._emptied,
            )
        return group

    def _groups_of(self, filter_: Filter) -> list[Group]:
        """
        Return the groups that have the given filters: a group for plain lines, a group for events,
        or both groups.
        """
        found = (self._groups.get(View(*filter_, events)) for events in (False, True))
        return [group for group in found if group is not None]

    def _emptied(self, group: Group) -> None:
        if self._groups.get(group.view) is group:
            del self._groups[group.view]
            if not self._groups_of(group.view.filter):
                self._filters.remove(group.view.filter)
            self._close_if_unused()

    def _close_if_unused(self) -> None:
        if self._groups or self._joining:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._pending.clear()
        self.spool.leave(self.channel_id, self)
        self.unused(self)

    def _keep(self, first: int | None, messages: list[bytes]) -> None:
        if self._pending:
            last, kept = self._pending[-1]
            following = None if last is None else last + len(kept)
            if following == first:
                kept += messages
                return
        self._pending.append((first, messages.copy()))

    def _tell(self, line: bytes) -> None:
        self._publish()
        for group in list(self._groups.values()):
            group.tell(line)

    def _publish(self) -> None:
        pending, self._pending = self._pending, []
        for first, messages in pending:
            for block in blocks(first, messages, BLOCK_BYTES):
                is_live = any(group.has_live for group in self._groups.values())
                selected = block.select(self._filters, format_all=is_live)
                self.counters.tail_unparsable += block.unparsable
                for filter_, indexes in selected.items():
                    for group in self._groups_of(filter_):
                        group.publish(block, indexes)
            if first is not None:
                self._last = first + len(messages) - 1
            for group in list(self._groups.values()):
                group.pump()

    def _set_timer(self) -> None:
        if self._groups:
            linger_s = LINGER_S + LINGER_PER_READER_S * len(self)
            self._timer = self.clock.callLater(linger_s, self._tick)

    def _tick(self) -> None:
        self._timer = None
        look_again = [group.trim() for group in list(self._groups.values())]
        if self._pending or any(look_again):
            self._publish()
            self._set_timer()
