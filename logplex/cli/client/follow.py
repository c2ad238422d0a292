# SPDX-License-Identifier: Apache-2.0

"""
Read a channel's lines exactly once and in order, over several connections and sessions.

A first session gives the recent lines and ends. A second session gives the live lines that follow
the last number of the first one. After a lost connection the stream is resumed after the last
number that arrived (PROTOCOL §7, ``Last-Event-ID``).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence

from attrs import define, field
from twisted.internet.task import deferLater
from twisted.web.iweb import IResponse

from logplex.cli.client.answers import read_body
from logplex.cli.client.api import Api, failure_of
from logplex.cli.client.events import Event, EventDecoder, LastEventId, TooLong
from logplex.cli.client.lines import Filter, harmless, parse_line
from logplex.cli.failures import NotFound, Rejected, Unreachable

#: A connection without any data for this time counts as lost. Nodes send a keepalive every 15 s.
SILENCE_S = 45.0
#: A number of recent messages that is larger than any spool.
EVERYTHING = 1_000_000
#: The number of attempts to read the recent lines. A live stream is resumed for ever.
HISTORY_TRIES = 5
#: The bound on remembered messages that had no number.
MAX_UNNUMBERED = 10_000

_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 10.0
#: The highest count of failures: 2 ** 1,100 is too large for a float.
_MAX_FAILURES = 10

#: The beginning of the only live line of a channel with the flag ``no_tail``.
_FORBIDDEN = "Error L20 "


@define(eq=False, repr=False)
class Follower:
    """
    Read the recent and live lines of a channel.

    :param tell: called with one or more lines that pass the filter.
    :param remark: called with a text about the stream itself, for standard error.
    :param jitter: returns random numbers in [0, 1).
    :ivar last_number: the number of the last message that arrived.
    """

    api: Api
    channel_id: str
    filter: Filter
    tell: Callable[[Sequence[Event]], None]
    remark: Callable[[str], None]
    jitter: Callable[[], float]
    last_number: bytes | None = None
    #: Messages that had no number: those of this connection, and those of earlier ones.
    _unnumbered: deque[bytes] = field(factory=lambda: deque(maxlen=MAX_UNNUMBERED))
    _unnumbered_before: set[bytes] = field(factory=set)
    _is_forbidden: bool = False
    _failures: int = 0
    _has_complained: bool = False
    _take: Callable[[Sequence[Event]], None] = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._take = self.tell

    async def history(self, num: int) -> None:
        """
        Read the newest lines, oldest first.

        :param num: the number of lines that pass the filter.
        :raise Failed: the lines cannot be read.
        """
        newest: deque[Event] = deque(maxlen=num)
        self._take = newest.extend
        # Ask for one line at least: live lines follow its number.
        asked = max(num, 1) if self.filter.is_for_session else EVERYTHING
        session = await self._open(tail=False, num=asked)
        for _ in range(HISTORY_TRIES):
            if await self._read(session):
                break
            await self._pause()
        else:
            raise Unreachable("the connection was lost in every attempt to read the recent lines")
        if newest:
            self.tell(newest)

    async def live(self) -> None:
        """
        Read the lines after the recent lines, without an end.

        :raise Failed: the channel cannot be followed any longer.
        """
        self._take = self.tell
        session: str | None = None
        while True:
            try:
                is_fresh = session is None
                if session is None:
                    # If nothing has arrived so far, all recent lines are new.
                    is_new = self.last_number is not None or not self._unnumbered
                    session = await self._open(tail=True, num=EVERYTHING if is_new else 0)
                await self._read(session)
            except NotFound:
                # The session has expired, or the node was started again and has lost it.
                if is_fresh:
                    raise
                session = None
                continue
            except Unreachable as trouble:
                if not self._has_complained:
                    self._has_complained = True
                    self.remark(f"{trouble.message}; trying again")
            if self._is_forbidden:
                raise Rejected("this channel cannot be tailed live")
            await self._pause()

    # One connection.

    async def _open(self, tail: bool, num: int) -> str:
        """
        Make a session and return its URL.

        :param num: the number of recent lines that the session shows.
        :raise NotFound: the channel does not exist.
        :raise Failed: the session could not be made.
        """
        try:
            made = await self.api.post(
                "sessions",
                channel_id=self.channel_id,
                num=str(num),
                tail=tail,
                **self.filter.for_session(),
            )
        except Rejected as refused:
            if refused.message == "channel not found":
                raise NotFound(refused.message) from None
            raise
        url = made.get("url") if isinstance(made, dict) else None
        if not isinstance(url, str):
            raise Unreachable("the answer is not a session: is this the URL of API v3?")
        return url

    async def _read(self, session: str) -> bool:
        """
        Read the lines of a session until the connection ends.

        :return: true if the stream ended; false if the connection was lost.
        :raise Failed: the session cannot be read.
        """
        headers = {"Accept": "text/event-stream"}
        if self.last_number is not None:
            headers["Last-Event-ID"] = self.last_number.decode("ascii", "replace")
        try:
            response = await self.api.asker.ask("GET", session, headers)
        except Unreachable as trouble:
            hint = "the node's option [urls] api is the beginning of every session's URL"
            raise Unreachable(f"{trouble.message} ({hint})") from None
        await self._check(response)
        self._has_complained = False
        self._unnumbered_before = set(self._unnumbered)
        decoder = EventDecoder()

        def take(chunk: bytes) -> None:
            try:
                found = decoder.decode(chunk)
            except TooLong:
                raise Rejected("the stream holds an event that is too long") from None
            if found:
                self._failures = 0
            shown = []
            for each in found:
                if isinstance(each, Event):
                    if self._shows(each):
                        shown.append(each)
                elif isinstance(each, LastEventId):
                    self.last_number = each.id
                elif each.text:
                    self.remark(harmless(each.text.decode("utf-8", "replace")))
            if shown:
                self._take(shown)

        return await read_body(response, take, self.api.asker.clock, SILENCE_S)

    async def _check(self, response: IResponse) -> None:
        if response.code != 200:
            why = (await self.api.asker.content(response)).decode("utf-8", "replace")
            text = " ".join(why.split())[:200]
            raise failure_of(response.code, text, self.api.credential is not None)
        types = response.headers.getRawHeaders("Content-Type", [""])
        if not str(types[-1]).startswith("text/event-stream"):
            raise Rejected(
                "the session's URL does not answer with events: is it the URL of a Logplex?"
            )

    def _shows(self, event: Event) -> bool:
        """Remember the number of a message, and return true if the message should be shown."""
        if event.id is None:
            return self._shows_unnumbered(event.data)
        self.last_number = event.id
        if event.data in self._unnumbered_before:
            # It was shown without a number while its shard was away. Now the shard has numbered it.
            self._unnumbered_before.remove(event.data)
            return False
        return self.filter.shows_all or self.filter.shows(parse_line(event.data))

    def _shows_unnumbered(self, data: bytes) -> bool:
        """Remember a message that has no number, and return true if it should be shown."""
        line = parse_line(data)
        if line.is_notice:  # about the tail itself: no filter hides it
            self._is_forbidden = line.message.startswith(_FORBIDDEN)
            return True
        if data in self._unnumbered_before:
            # No message had a number yet, so the recent lines came once more.
            self._unnumbered_before.remove(data)
            return False
        self._unnumbered.append(data)
        return self.filter.shows(line)

    async def _pause(self) -> None:
        """Wait before the next attempt, longer after each failure."""
        delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**self._failures)
        self._failures = min(self._failures + 1, _MAX_FAILURES)
        await deferLater(self.api.asker.clock, delay_s * (0.5 + self.jitter() / 2))
