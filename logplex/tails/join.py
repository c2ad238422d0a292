# SPDX-License-Identifier: Apache-2.0

"""
The past of a reader: the recent messages that it is shown before the live ones.

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
    The messages that a reader is shown before the live ones.

    :ivar messages: the messages, oldest first.
    :ivar comment: a remark for the reader about missing messages; may be empty.
    :ivar unparsable: the number of kept messages that no reader can be shown.
    :ivar last: the number of the last message of the past; 0 if there is none.
    :ivar seen: live messages up to this number are not new to the reader; 0: all are new.
    :ivar is_whole: true if the past completes what the reader has seen: every kept message up to
        ``last`` that its filters let through.
    """

    messages: Sequence[Message]
    comment: bytes
    unparsable: int
    last: int
    seen: int
    is_whole: bool


def past_of(recent: Recent, view: View, num: int, after: int | None, now_us: int) -> Past:
    """
    Choose the recent messages that a reader is shown.

    :param num: the most messages to show, the newest ones, counted after the filters.
    :param after: show all messages after this number instead, if it can be one of the channel's.
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
    The messages between the last one that a reader has seen and the newest kept one.

    :ivar newest: the highest number so far.
    :ivar start: the index of the first kept entry after the last one seen.
    :ivar gone: the number of messages that were numbered but are not kept.
    :ivar is_broken: true if the spool has lost its sequence, so that the count means nothing.
    """

    newest: int
    start: int = 0
    gone: int = 0
    is_broken: bool = False

    def pass_seen(self, index: int) -> None:
        """Count an entry that the reader has seen."""
        self.start = index + 1

    def pass_new(self, number: int, before: int) -> None:
        """
        Count an entry that the reader has not seen.

        :param before: the channel's number before the entry.
        """
        self.gone += max(0, before - self.newest)
        self.is_broken = self.is_broken or before < self.newest
        self.newest = number

    def end(self, last: int) -> None:
        """Count the messages between the newest kept one and the channel's last number."""
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
    Find the kept messages that follow a number.

    :return: the index of the first of them, and a comment about messages that are not kept any
        more. ``None`` as index: the number is not one of the channel's.
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
    Return the number up to which live messages are not new to a reader.

    While the spool is away from this node, the reader may have seen messages on another node. They
    arrive here when the spool is back.
    """
    if recent.complete or after is None or not _OLDEST_NUMBER <= after <= now_us:
        return 0
    return after
