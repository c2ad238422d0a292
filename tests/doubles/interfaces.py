# SPDX-License-Identifier: Apache-2.0

"""Stand-ins that several tests share; each passes the contract suite of its interface."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import ILogObserver, LogEvent, formatEvent
from zope.interface import implementer

from logplex.interfaces import (
    DrainStatus,
    DrainTest,
    IConfigListener,
    IConfigStore,
    IDrains,
    IFollower,
    IOutlet,
    IReactor,
    IReplacement,
    IShareRods,
    ISpool,
    Recent,
    RodsTold,
    Step,
    StoreAway,
    WrongStep,
)
from logplex.metrics import Sample
from logplex.model.rods import Panel, Position
from logplex.model.session import channel_of_session
from logplex.model.values import Change, Drain, Put


def as_reactor(partial: object) -> IReactor:
    """Let a stand-in that provides only a part of a reactor, such as ``Clock``, pass for one."""
    return cast(IReactor, partial)


@implementer(ILogObserver)
@define(eq=False)
class LogLines:
    """Keeps the text of every event that it observes."""

    lines: list[str] = field(factory=list)

    def __call__(self, event: LogEvent) -> None:
        self.lines.append(formatEvent(event))


@implementer(IOutlet)
@define(eq=False)
class ListOutlet:
    """Keeps what it is given, call by call."""

    calls: list[list[bytes]] = field(factory=list)

    def push(self, messages: list[bytes]) -> None:
        self.calls.append(list(messages))

    @property
    def messages(self) -> list[bytes]:
        return [message for call in self.calls for message in call]


@implementer(ISpool)
@define(eq=False)
class RecordingSpool:
    """
    Remembers what was appended, ``(channel id, messages, keep)``, and which channels were
    forgotten. Numbers and keeps nothing.
    """

    name = "recording"
    replacement = None
    appended: list[tuple[str, list[bytes], bool]] = field(factory=list)
    forgotten: list[str] = field(factory=list)

    def append(self, channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        self.appended.append((channel_id, list(messages), keep))

    def recent(self, channel_id: str) -> Deferred[Recent]:
        return succeed(Recent(0, []))

    def join(self, channel_id: str, follower: IFollower) -> Deferred[Recent]:
        return succeed(Recent(0, []))

    def leave(self, channel_id: str, follower: IFollower) -> None:
        pass

    def forget(self, channel_id: str) -> None:
        self.forgotten.append(channel_id)

    def samples(self) -> Iterable[Sample]:
        return ()

    def troubles(self) -> list[str]:
        return []

    def close(self) -> Deferred[None]:
        return succeed(None)


@implementer(IConfigStore)
@define(eq=False)
class DictConfigStore:
    """
    Keeps everything in dicts and answers at once.

    :ivar away: while true, everything fails with :class:`StoreAway`.
    :ivar held: where a test puts a list, commits wait in it until the test fires them.
    :ivar channel_id: the channel of the last commit.
    """

    name = "dicts"
    clock: IReactorTime
    directory: Path | None = None
    away: bool = False
    held: list[Deferred[None]] | None = None
    channel_id: str | None = None
    values: dict[tuple[type[Any], Any], Any] = field(factory=dict)
    counters: dict[str, int] = field(factory=dict)
    sessions: dict[str, tuple[float, bytes]] = field(factory=dict)
    _listener: IConfigListener | None = None

    def open(self, listener: IConfigListener) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        self._listener = listener
        listener.loaded(list(self.values.values()))
        return succeed(None)

    def share_rods(self, told: RodsTold) -> None:
        pass

    def samples(self) -> Iterable[Sample]:
        return ()

    def troubles(self) -> list[str]:
        return []

    def commit(self, changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        self.channel_id = channel_id
        if self.held is None:
            self._apply(list(changes))
            return succeed(None)
        waiting: Deferred[None] = Deferred()
        self.held.append(waiting)
        return waiting.addCallback(lambda _: self._apply(list(changes)))

    def _apply(self, changes: list[Change]) -> None:
        for change in changes:
            if isinstance(change, Put):
                self.values[type(change.value), change.value.id] = change.value
            else:
                self.values.pop((change.kind, change.id), None)
        if self._listener and changes:
            self._listener.changed(changes)

    def new_id(self, counter: str) -> Deferred[int]:
        if self.away:
            return fail(StoreAway("away"))
        drains = (id for kind, id in self.values if kind is Drain)
        highest = max(drains, default=0) if counter == "drain_index" else 0
        self.counters[counter] = max(self.counters.get(counter, 0), highest) + 1
        return succeed(self.counters[counter])

    def count_healthcheck(self) -> Deferred[int]:
        return self.new_id("healthcheck")

    def put_session(self, session_id: str, body: bytes, lifetime_s: float) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        self.sessions[session_id] = (self.clock.seconds() + lifetime_s, body)
        return succeed(None)

    def get_session(self, session_id: str) -> Deferred[bytes | None]:
        if self.away:
            return fail(StoreAway("away"))
        ends, body = self.sessions.get(session_id, (0.0, b""))
        return succeed(body if ends > self.clock.seconds() else None)

    def renew_sessions(self, sessions: Mapping[str, str], lifetime_s: float) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        for session_id in sessions:
            ends, body = self.sessions.get(session_id, (0.0, b""))
            if ends > self.clock.seconds():
                self.sessions[session_id] = (self.clock.seconds() + lifetime_s, body)
        return succeed(None)

    def ended_sessions(self, session_ids: Sequence[str]) -> Deferred[list[str]]:
        if self.away:
            return fail(StoreAway("away"))
        now = self.clock.seconds()
        return succeed(
            [each for each in session_ids if self.sessions.get(each, (0.0, b""))[0] <= now]
        )

    def end_session(self, session_id: str) -> Deferred[bool]:
        if self.away:
            return fail(StoreAway("away"))
        ends, _ = self.sessions.pop(session_id, (0.0, b""))
        return succeed(ends > self.clock.seconds())

    def end_sessions(self, channel_id: str) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        for session_id, (_, body) in list(self.sessions.items()):
            if channel_of_session(body) == channel_id:
                del self.sessions[session_id]
        return succeed(None)

    def close(self) -> Deferred[None]:
        return succeed(None)


@implementer(IShareRods)
@define(eq=False)
class SharedPanel:
    """A cluster of one node, which hears at once of what was thrown for all."""

    panel: Panel
    away: bool = False

    def throw(self, positions: Mapping[str, Position | None]) -> Deferred[None]:
        if self.away:
            return fail(StoreAway("away"))
        merged = {**self.panel.shared, **positions}
        self.panel.share({name: each for name, each in merged.items() if each is not None})
        return succeed(None)


@implementer(IReplacement)
@define(eq=False)
class FakeReplacement:
    """
    Takes the steps, and replaces nothing.

    :ivar held: what the first step waits for.
    :ivar missing: why shards are not there.
    """

    step: Step = Step.SETTLED
    missing: list[str] = field(factory=list)
    urls: list[str] = field(factory=list)
    away: bool = False
    held: Deferred[None] | None = None

    def troubles(self) -> list[str]:
        return self.missing

    async def prepare(self, urls: Sequence[str]) -> None:
        if any(not url.startswith("redis:") for url in urls):
            raise ValueError("no ring")
        if self.held is not None:
            await self.held
        self._go(Step.SETTLED, Step.PREPARED)
        self.urls = list(urls)

    async def commit(self) -> None:
        self._go(Step.PREPARED, Step.COMMITTED)

    async def make_permanent(self) -> None:
        self._go(Step.COMMITTED, Step.SETTLED)

    async def abort(self) -> None:
        self._go(Step.PREPARED, Step.SETTLED)

    def _go(self, here: Step, there: Step) -> None:
        if self.away:
            raise StoreAway("not there in time: a")
        if self.step is not here:
            raise WrongStep(f"it is at the step {self.step.value!r}")
        self.step = there


@implementer(IDrains)
@define(eq=False)
class FakeDrains:
    """Says of every drain what a test put in, and delivers every test message."""

    statuses: dict[int, DrainStatus]

    def status(self, drain_id: int) -> DrainStatus | None:
        return self.statuses.get(drain_id)

    def test(self, drain_id: int) -> Deferred[DrainTest]:
        return succeed(DrainTest(delivered=True, status=204))
