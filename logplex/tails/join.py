# SPDX-License-Identifier: Apache-2.0

"""
The past of a reader: the recent messages that the reader is shown before the live messages.

The spool answers a join at one moment. Everything that the channel was told before is among the
recent messages, or is not kept; everything that it is told later is new. A tail takes its place in
its group at this moment, so it misses nothing and is shown nothing twice. See
:meth:`logplex.interfaces.ISpool.join`.

A reader that resumes (``Last-Event-ID``) has seen the messages up to a number, on any node.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import define, frozen

from logplex.interfaces import Recent
from logplex.syslog.inner import tail_sources
from logplex.tails.view import View

#: Numbers begin at the clock's microseconds and grow by one for each message. A distance as large
#: as this (one second) is hardly one of messages: the sequence began anew, because the node of an
#: embedded store was restarted, or the number was never one of ours.
_JUMP = 1_000_000
#: The clock's microseconds in July 2017: no sequence began earlier.
_OLDEST_NUMBER = 1_500_000_000_000_000

#: A message with its number; ``None``: it has none.
Message = tuple[int | None, bytes]

_MAY_BE_MISSING = b"some messages may be missing"


@frozen
class Past:
    """
    The recent messages that a reader is shown before the live messages.

    :ivar messages: the messages, oldest first.
    :ivar comment: a comment to the reader about missing messages; empty if there is nothing to say.
    :ivar unparsable: the number of messages that are malformed and cannot be shown.
    :ivar last: the number of the last message of the past; 0 if there is none.
    :ivar seen: the reader has already seen live messages up to this number; 0 if all live messages
        are new.
    :ivar is_whole: true if no kept message is missing up to ``last`` that the reader's filters let
        through.
    """

    messages: Sequence[Message]
    comment: bytes
    unparsable: int
    last: int
    seen: int
    is_whole: bool


def past_of(recent: Recent, view: View, num: int, after: int | None, now_us: int) -> Past:
    """
    Return the recent messages that a reader is shown before the live messages.

    :param num: show only the newest ``num`` of the messages that pass the reader's filters.
    :param after: the number of the last message that the reader has seen. If the channel can have
        had this number, show all later messages instead of ``num``.
    :param now_us: the present time, in microseconds since the epoch.
    """
    start, comment = (None, b"") if after is None else _resume(recent, after)
    kept = recent.entries[start:]
    sources = tail_sources([message for _, message in kept])
    shown = [
        message
        for message, source in zip(kept, sources, strict=True)
        if source is not None and view.shows(*source)
    ]
    if start is None:
        shown = shown[-num:] if num else []
    return Past(
        shown,
        comment,
        sources.count(None),
        last=0 if recent.moving else recent.last,
        seen=_seen_elsewhere(recent, after, now_us),
        is_whole=recent.complete and not recent.moving,
    )


@define(eq=False, repr=False)
class _Gap:
    """
    A count of the messages that are missing between the last message that a reader has seen and the
    newest kept message.

    :ivar newest: the highest message number so far.
    :ivar start: the index of the first kept message that the reader has not seen.
    :ivar gone: the number of messages that are no longer kept.
    :ivar is_broken: true if the spool has begun to number messages again from a lower number, so
        the count is wrong.
    """

    newest: int
    start: int = 0
    gone: int = 0
    is_broken: bool = False

    def pass_seen(self, index: int) -> None:
        """Move past a kept message that the reader has seen."""
        self.start = index + 1

    def pass_new(self, number: int, before: int) -> None:
        """
        Move past a kept message that the reader has not seen, and count the missing messages before
        it.

        :param number: the number of the message.
        :param before: the number of the channel's message before it, kept or not.
        """
        self.gone += max(0, before - self.newest)
        self.is_broken = self.is_broken or before < self.newest
        self.newest = number

    def end(self, last: int) -> None:
        """
        Count the missing messages between the newest kept message and the channel's last number.
        """
        self.gone += last - self.newest

    @property
    def is_countable(self) -> bool:
        return 0 <= self.gone < _JUMP and not self.is_broken


def _gap(recent: Recent, after: int) -> _Gap:
    gap = _Gap(after)
    for index, (number, _) in enumerate(recent.entries):
        if number is None:
            continue
        if number <= after:
            gap.pass_seen(index)
        elif number > gap.newest:
            gap.pass_new(number, recent.jumps.get(number, number - 1))
    gap.end(recent.last)
    return gap


def _resume(recent: Recent, after: int) -> tuple[int | None, bytes]:
    """
    Find the kept messages that a reader has not seen.

    :param after: the number of the last message that the reader has seen.
    :return: the index of the first such message, and a comment to the reader about missing
        messages. The index is ``None`` if the channel cannot have had the number.
    """
    if not recent.complete:
        # Nothing tells which of the entries the reader has seen.
        return len(recent.entries), _MAY_BE_MISSING
    gap = _gap(recent, after)
    if gap.is_countable:
        if gap.gone:
            return gap.start, b"%d messages are gone" % gap.gone
        return gap.start, _MAY_BE_MISSING if recent.moving else b""
    if after >= _OLDEST_NUMBER:
        # The spool has lost its numbers since then, and with them perhaps messages.
        return gap.start if after <= recent.last else None, _MAY_BE_MISSING
    return None, b""


def _seen_elsewhere(recent: Recent, after: int | None, now_us: int) -> int:
    """
    Return the highest number of a live message that a reader has already seen on another node; 0 if
    there is none.

    If the spool cannot be reached from this node, a reader may have seen messages on another node.
    This node receives the same messages later, when the spool can be reached again.
    """
    if recent.complete or after is None or not _OLDEST_NUMBER <= after <= now_us:
        return 0
    return after
