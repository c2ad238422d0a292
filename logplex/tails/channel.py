"""
One channel that is tailed on this node: its live messages, from the spool to its groups.
"""

from __future__ import annotations

from collections.abc import Callable

from attrs import define, field
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from zope.interface import implementer

from logplex.interfaces import IFollower, ISpool, Recent
from logplex.metrics import Counters
from logplex.settings import Limits
from logplex.syslog.notices import gap_line, l15_line
from logplex.tails.group import BLOCK_BYTES, Group, Reader
from logplex.tails.tail import Tail
from logplex.tails.view import View, blocks

#: How long messages wait for company. The first after a quiet moment goes at once. Measured in
#: ``bench/tails.py``.
LINGER_S = 0.01
#: And so much longer for every reader: writing to one costs some 15 µs, however much it is, and
#: thousands of them must not keep the node from everything else.
LINGER_PER_READER_S = 0.000_05


@implementer(IFollower)
@define(eq=False, repr=False)
class TailedChannel:
    """
    Follows the channel as long as somebody reads it here.

    :param unused: told when nobody does any more.
    :ivar is_away: the spool is, and so only this node's messages come.
    """

    channel_id: str
    spool: ISpool
    clock: IReactorTime
    limits: Limits
    counters: Counters
    unused: Callable[[TailedChannel], None]
    is_away: bool = False
    _groups: dict[View, Group] = field(factory=dict)
    #: Live messages that the groups have not been told of, in order: number of the first, messages.
    _pending: list[tuple[int | None, list[bytes]]] = field(factory=list)
    _timer: IDelayedCall | None = None
    #: The newest number that the groups have been told of, and that there is.
    _last: int = 0
    _newest: int = 0

    # What a reader asks.

    async def join(self, tail: Tail) -> Recent | None:
        """
        Read the history for a tail, and let it take its place among the live messages at the
        moment at which the history ends.

        :return: ``None`` if the tail is over by now.
        """
        group = self._group(tail.view)
        group.enter(tail)
        tail.group = group
        try:
            recent = await self.spool.join(self.channel_id, self)
        except BaseException:
            group.leave(tail)
            raise
        if tail.is_over:
            return None
        # All of this is in the history.
        self._publish()
        group.move_up(tail)
        return recent

    def __len__(self) -> int:
        return sum(map(len, self._groups.values()))

    def readers(self) -> list[Reader]:
        """Everybody here, also those whose history has not come yet."""
        return [reader for group in self._groups.values() for reader in group.readers()]

    def end(self, notice: bytes = b"") -> None:
        """
        End every tail.

        :param notice: a line that the readers are told before.
        """
        self._publish()
        for reader in self.readers():
            reader.end(notice)

    # What the spool tells.

    def received(self, first: int | None, messages: list[bytes]) -> None:
        """See :class:`IFollower`."""
        if first is not None and first <= self._newest:
            self._begin_again()
        self._newest = self._newest if first is None else first + len(messages) - 1
        self._keep(first, messages)
        if self._timer is None:
            self._publish()
            self._set_timer()

    def interrupted(self) -> None:
        """See :class:`IFollower`."""
        self.is_away = True
        self._tell(l15_line(self.clock.seconds()))

    def resumed(self) -> None:
        """See :class:`IFollower`."""
        self.is_away = False

    def missed(self) -> None:
        """See :class:`IFollower`."""
        self._tell(gap_line(self.clock.seconds()))

    # How it is done.

    def _begin_again(self) -> None:
        """The spool has lost its numbers: nobody's history says any more what he has seen."""
        self._publish()
        self._last = 0
        for group in list(self._groups.values()):
            group.begin_again()

    def _group(self, view: View) -> Group:
        group = self._groups.get(view)
        if group is None:
            group = self._groups[view] = Group(
                view, self.counters, self.clock.seconds, self.limits, self._emptied, self._last
            )
        return group

    def _emptied(self, group: Group) -> None:
        if self._groups.get(group.view) is group:
            del self._groups[group.view]
            if not self._groups:
                self._close()

    def _close(self) -> None:
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
                for group in list(self._groups.values()):
                    group.publish(block)
                self.counters.tail_unparsable += block.unparsable
            if first is not None:
                self._last = first + len(messages) - 1

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
