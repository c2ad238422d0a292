"""
A channel's lines, exactly once and in order, over as many connections and sessions as it takes.

First the history is read, through a session that ends after it. The number of its last message is
the place from where a second session goes on live, and after every lost connection again from the
last number that came (PROTOCOL §7, ``Last-Event-ID``).
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
from logplex.cli.client.lines import Filter, parse_line
from logplex.cli.failures import NotFound, Rejected, Unreachable

#: A node gives a sign of life after 15 s of silence; a connection without one is dead.
SILENCE_S = 45.0
#: More than any node keeps: all of a channel's recent messages.
EVERYTHING = 1_000_000
#: A history that is asked for alone is tried again so often; a live stream for ever.
HISTORY_TRIES = 5
#: How many messages without number are remembered.
MAX_UNNUMBERED = 10_000

_FIRST_DELAY_S = 0.25
_MAX_DELAY_S = 10.0
#: More are not counted: 2 ** 1,100 is more than a float can be.
_MAX_FAILURES = 10

#: What a line of a channel flagged ``no_tail`` begins with.
_FORBIDDEN = "Error L20 "


@define(eq=False, repr=False)
class Follower:
    """
    Reads a channel.

    :param tell: gets the lines that are wanted, some at a time.
    :param remark: gets what else the user should know, as one line.
    :param jitter: random numbers in [0, 1).
    :ivar last_number: the number of the last message that came.
    """

    api: Api
    channel_id: str
    filter: Filter
    tell: Callable[[Sequence[Event]], None]
    remark: Callable[[str], None]
    jitter: Callable[[], float]
    last_number: bytes | None = None
    #: Messages without number that came over this connection, and over earlier ones.
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
        The newest lines, oldest first.

        :param num: how many, of those that the filter shows.
        :raise Failed: they cannot be read.
        """
        newest: deque[Event] = deque(maxlen=num)
        self._take = newest.extend
        # One at least: its number says where to go on.
        asked = max(num, 1) if self.filter.is_for_session else EVERYTHING
        session = await self._open(tail=False, num=asked)
        for _ in range(HISTORY_TRIES):
            if await self._read(session):
                break
            await self._pause()
        else:
            raise Unreachable("the connection is lost again and again within the history")
        if newest:
            self.tell(newest)

    async def live(self) -> None:
        """
        The lines after the history, for ever.

        :raise Failed: there can be no more.
        """
        self._take = self.tell
        session: str | None = None
        while True:
            try:
                is_fresh = session is None
                if session is None:
                    # Where nothing came so far, everything that is there now is new.
                    is_new = self.last_number is not None or not self._unnumbered
                    session = await self._open(tail=True, num=EVERYTHING if is_new else 0)
                await self._read(session)
            except NotFound:
                # The session has expired, or was the first thing that a new node was asked.
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
        A session's URL. A channel that does not exist is nothing that could be found.

        :raise Failed: there is none.
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
            raise Unreachable("the answer is no session: is this the URL of API v3?")
        return url

    async def _read(self, session: str) -> bool:
        """
        Read until the connection ends.

        :return: whether the stream came to its end.
        :raise Failed: the session cannot be read.
        """
        headers = {"Accept": "text/event-stream"}
        if self.last_number is not None:
            headers["Last-Event-ID"] = self.last_number.decode("ascii", "replace")
        try:
            response = await self.api.asker.ask("GET", session, headers)
        except Unreachable as trouble:
            where = "where sessions are, says the node's option [urls] api"
            raise Unreachable(f"{trouble.message} ({where})") from None
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
                    self.remark(each.text.decode("utf-8", "replace"))
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
            raise Rejected("the session's URL does not answer with events: is it a Logplex?")

    def _shows(self, event: Event) -> bool:
        """Whether the reader wants to see it; and what else follows from it."""
        if event.id is None:
            return self._shows_unnumbered(event.data)
        self.last_number = event.id
        if event.data in self._unnumbered_before:
            # Its shard was away when it was shown, and is back and has numbered it.
            self._unnumbered_before.remove(event.data)
            return False
        return self.filter.shows_all or self.filter.shows(parse_line(event.data))

    def _shows_unnumbered(self, data: bytes) -> bool:
        line = parse_line(data)
        if line.is_notice:  # about the tail itself: shown whatever the filters are
            self._is_forbidden = line.message.startswith(_FORBIDDEN)
            return True
        if data in self._unnumbered_before:
            # No number was shown yet to go on from, so the recent lines were asked for once more.
            self._unnumbered_before.remove(data)
            return False
        self._unnumbered.append(data)
        return self.filter.shows(line)

    async def _pause(self) -> None:
        """Wait before the next try, longer from failure to failure."""
        delay_s = min(_MAX_DELAY_S, _FIRST_DELAY_S * 2**self._failures)
        self._failures = min(self._failures + 1, _MAX_FAILURES)
        await deferLater(self.api.asker.clock, delay_s * (0.5 + self.jitter() / 2))
