# SPDX-License-Identifier: Apache-2.0

"""
The claims of a durable drain: the rows that it sends next, and the ids of what it sends.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from logplex.journal.backlog import Backlog
from logplex.journal.values import JournalAway, Row, Rows

_log = Logger()

#: A journal that cannot be read is asked again after this time.
_RETRY_S = 1.0


@frozen
class JournalPlace:
    """A message, and its place in the journal."""

    row: Row
    place: int

    @property
    def message(self) -> bytes:
        return self.row.messages[self.place]


def frame_id(
    journal_id: str, drain_token: str, first: JournalPlace, last: JournalPlace, is_again: bool
) -> bytes:
    """
    Return the frame id of all messages from one place in the journal to another. The id is the same
    after a crash.

    :param is_again: true for a message that was refused, and is sent again.
    """
    content = b"%b %b %b %d %d %d %d" % (
        b"again" if is_again else b"",
        journal_id.encode("ascii"),
        drain_token.encode("utf-8"),
        first.row.number,
        first.place,
        last.row.number,
        last.place,
    )
    return blake2b(content, digest_size=16).hexdigest().upper().encode("ascii")


async def claim_next(backlog: Backlog, clock: IReactorTime) -> Rows:
    """
    Claim the next rows of a backlog, and return these rows; no rows at the end of the backlog.
    """
    while True:
        try:
            rows = await backlog.read()
            if not rows:
                return rows
            try:
                await backlog.claim(rows)
            except JournalAway:
                # A claim of one row needs nothing to be written.
                rows = rows[:1]
                await backlog.claim(rows)
            return rows
        except JournalAway as error:
            _log.warn("the journal cannot be read: {reason}", reason=str(error))
            await deferLater(clock, _RETRY_S)


async def written(sync: Callable[[], Deferred[None]], clock: IReactorTime) -> None:
    """Wait until all messages that arrived so far are in the journal's file."""
    while True:
        try:
            return await sync()
        except JournalAway:
            await deferLater(clock, _RETRY_S)


async def read_asides(backlog: Backlog, clock: IReactorTime) -> list[JournalPlace]:
    """Return the refused messages of a backlog that wait for another attempt, in order."""
    found: list[JournalPlace] = []
    for number, place in sorted(backlog.asides):
        row = await _read(backlog, number, clock)
        if row is not None:
            found.append(JournalPlace(row, place))
    return found


async def _read(backlog: Backlog, number: int, clock: IReactorTime) -> Row | None:
    while True:
        try:
            return await backlog.read_row(number)
        except JournalAway as error:
            _log.warn("the journal cannot be read: {reason}", reason=str(error))
            await deferLater(clock, _RETRY_S)
