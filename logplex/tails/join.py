"""
Where the history ends and the live messages begin, for each reader exactly.

The spool answers a reader's join at the moment at which his history ends: what the channel was told
before is in the history, what it is told later is new. His place in the live messages is taken at
this moment. See :meth:`logplex.interfaces.ISpool.join`.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence

from attrs import define, frozen

from logplex.interfaces import Recent
from logplex.syslog.inner import tail_matches
from logplex.tails.view import View
from logplex.tails.window import Entry

#: How many messages may pass a reader whose history has not come yet.
MAX_OVERTAKEN = 100_000

#: Numbers begin at the clock's microseconds and grow by one a message, so a distance like this
#: (of a second) is hardly one of messages: a sequence began anew, because an embedded store's
#: node was restarted, or the number was never one.
_JUMP = 1_000_000
#: The clock's microseconds in July 2017: no sequence began earlier.
_OLDEST_NUMBER = 1_500_000_000_000_000

_NO_NUMBER = -1
_MAY_BE_MISSING = b"some messages may be missing"


@define(eq=False, repr=False)
class Place:
    """
    Where one reader stands in his group's window.

    :ivar position: of the next entry that he is to be shown.
    :ivar floor: the number up to which his history goes: what comes live with a number up to it
        is in his history. ``None`` as long as the history is being read.
    :ivar lost: how many messages went past him since he was last told.
    :ivar lost_since: when the first of them did, in seconds since the epoch.
    """

    position: int
    floor: int | None = None
    lost: int = 0
    lost_since: float = 0.0
    _overtaken: array[int] | None = None

    def answered(self, last: int) -> None:
        """The history has come, and goes up to this number."""
        self.floor = last
        if self._overtaken is not None:
            self.lost = sum(number == _NO_NUMBER or number > last for number in self._overtaken)
            self._overtaken = None

    def shows(self, entry: Entry) -> bool:
        """Whether the entry is new to this reader, whose history has come."""
        return entry.number is None or self.floor is None or entry.number > self.floor

    def push(self, start: int, pushed_out: Sequence[Entry], now: float) -> int:
        """
        The window has lost its oldest entries.

        :param start: where it begins now.
        :return: how many messages the reader has lost by that, as far as is known.
        """
        missed = start - self.position
        if missed <= 0:
            return 0
        self.position = start
        messages = [entry for entry in pushed_out[-missed:] if entry.is_message]
        if not self.lost and not self._overtaken:
            self.lost_since = now
        if self.floor is None:
            if self._overtaken is None:
                self._overtaken = array("q")
            self._overtaken.extend(
                _NO_NUMBER if entry.number is None else entry.number for entry in messages
            )
            return 0
        lost = sum(map(self.shows, messages))
        self.lost += lost
        return lost

    @property
    def is_hopeless(self) -> bool:
        """Whether more went past than can be remembered, before the history came."""
        return self._overtaken is not None and len(self._overtaken) > MAX_OVERTAKEN


@frozen
class Past:
    """
    What a reader is shown before the live messages.

    :ivar entries: oldest first.
    :ivar comment: what he must know about what is not there; empty where there is nothing.
    :ivar unparsable: how many kept messages no reader can be shown.
    :ivar floor: the number up to which live messages are not new to him.
    :ivar is_whole: whether he has seen, with this, everything up to the floor that he wants to see
        and that can be had.
    """

    entries: list[Entry]
    comment: bytes
    unparsable: int
    floor: int
    is_whole: bool


def past_of(recent: Recent, view: View, num: int, after: int | None, now_us: int) -> Past:
    """
    Choose what to show of what is kept.

    :param num: at most so many of the newest, counted after the filters.
    :param after: show all after this number instead, where it can be one of the channel's.
    :param now_us: the clock's microseconds since the epoch.
    """
    place, comment = (None, b"") if after is None else _resume(recent, after)
    kept = recent.entries[place:]
    matches, unparsable = tail_matches([message for _, message in kept], view.source, view.ps)
    shown = [
        Entry.of(number, message)
        for (number, message), match in zip(kept, matches, strict=True)
        if match
    ]
    if place is None:
        shown = shown[-num:] if num else []
    is_whole = recent.complete and not recent.moving
    return Past(shown, comment, unparsable, _floor(recent, after, now_us), is_whole)


def _resume(recent: Recent, after: int) -> tuple[int | None, bytes]:
    """
    Which kept entry follows this number, and what is to be said of what is not kept any more.
    ``None``: the number says nothing here.
    """
    if not recent.complete:
        # What of it he has seen already nobody knows.
        return len(recent.entries), _MAY_BE_MISSING
    place = gone = 0
    newest, is_lost = after, False
    for index, (number, _) in enumerate(recent.entries):
        if number is None:
            continue
        if number <= after:
            place = index + 1
        elif number > newest:
            before = recent.jumps.get(number, number - 1)
            gone += max(0, before - newest)
            is_lost = is_lost or before < newest
            newest = number
    gone += recent.last - newest
    if 0 <= gone < _JUMP and not is_lost:
        if gone:
            return place, b"%d messages are gone" % gone
        return place, _MAY_BE_MISSING if recent.moving else b""
    if after >= _OLDEST_NUMBER:
        # The spool has lost its numbers since, and with them perhaps messages.
        return place if after <= recent.last else None, _MAY_BE_MISSING
    return None, b""


def _floor(recent: Recent, after: int | None, now_us: int) -> int:
    if recent.moving:
        return 0
    if not recent.complete and after is not None and _OLDEST_NUMBER <= after <= now_us:
        # What he has seen elsewhere comes here once more, when the spool is back.
        return max(recent.last, after)
    return recent.last
