# SPDX-License-Identifier: Apache-2.0

"""
The contracts between the rooms of Logplex, and the values that pass between rooms.

A contract between two rooms is an interface of zope, and stands here. Every implementation passes
the contract suite of its interface, in ``tests/contracts``. A contract within one room is a
``typing.Protocol``, and stands in the module that calls it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path

from attrs import field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import (
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
)
from zope.interface import Attribute, Interface

from logplex.metrics import Sample
from logplex.model.rods import Position
from logplex.model.values import Change, Channel, Drain, Value


class IReactor(
    IReactorCore,
    IReactorFDSet,
    IReactorFromThreads,
    IReactorPluggableNameResolver,
    IReactorTCP,
    IReactorTime,
    IReactorUDP,
):
    """
    The reactor as Logplex needs it. Every reactor of Twisted on Linux provides these interfaces.

    Code that needs less names less, mostly ``IReactorTime``.
    """


class StoreAway(Exception):
    """
    The store cannot be reached, or did not answer in time.

    A change may or may not have been made. The text gives the reason.
    """


class StoreFailed(StoreAway):
    """The store refuses an operation and has changed nothing; the text says why, for people."""


class StoreUnusable(Exception):
    """The store cannot be opened, and waiting will not help. The text is one line for people."""


class IOutlet(Interface):
    """A place to which a channel's messages go, such as the buffer of a drain."""

    def push(messages: list[bytes]) -> None:
        """
        Take cooked messages, in order. Never waits, never raises, and keeps a bounded number.

        :param messages: one or more. The caller changes the list after the call: copy it.
        """


class IConfigListener(Interface):
    """The object that is told what the configuration store holds: the registry."""

    def loaded(values: Sequence[Value]) -> None:
        """The store holds exactly these values; called once, on opening."""

    def changed(changes: Sequence[Change]) -> None:
        """These changes took effect, in this order."""


class IShareRods(Interface):
    """Throws control rods for all nodes of a cluster."""

    def throw(positions: Mapping[str, Position | None]) -> Deferred[None]:
        """
        Throw rods. Fires when this node knows, and all others will. ``None`` takes back what was
        thrown. Fails with :class:`StoreAway`.
        """


#: A function that takes all control rods that are thrown for the cluster.
RodsTold = Callable[[Mapping[str, Position]], None]


class IConfigStore(Interface):
    """
    The store of channels, tokens, drains, credentials and sessions.

    Every method that returns a Deferred may fail with :class:`StoreAway`.
    """

    name: str = Attribute("A description for the log, without passwords.")
    directory: Path | None = Attribute(
        "For files of this node's owner; ``None`` if the store is shared with other nodes."
    )

    def share_rods(told: RodsTold) -> IShareRods | None:
        """
        Return the object that throws control rods for all nodes; ``None`` if the store is not
        shared with other nodes. Call it before :meth:`open`.

        :param told: gets all rods that are thrown for the cluster, whenever one may have changed.
        """

    def samples() -> Iterable[Sample]:
        """Yield the present numbers of the store, for metrics."""

    def troubles() -> list[str]:
        """Return the present failures, one line each, without passwords."""

    def open(listener: IConfigListener) -> Deferred[None]:
        """
        Load everything into the listener (one ``loaded``), then tell it of all changes, those of
        other nodes too. Fires after the first load.
        """

    def commit(changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        """
        Make all changes durable, or none. Fires after the listener has been told of them.
        Deleting what is not there is not an error. Without changes and channel it fires at once.

        :param channel_id: the channel that the changes belong to. A store that has lost what it
            held writes the channel, its tokens and its drains again beside the changes. A store
            that can lose them must be reached for this, even if there are no changes.
        """

    def new_id(counter: str) -> Deferred[int]:
        """
        Return the next integer of a counter, never given before; the first is 1.

        :param counter: ``"channel_index"`` or ``"drain_index"``.
        """

    def count_healthcheck() -> Deferred[int]:
        """Increment and return the counter ``healthcheck``: proof that the store can write."""

    def put_session(session_id: str, body: bytes, lifetime_s: float) -> Deferred[None]:
        """Keep the JSON of a session for its lifetime. Expired sessions are removed."""

    def get_session(session_id: str) -> Deferred[bytes | None]:
        """Return the JSON of a session, or ``None`` if there is none or it has expired."""

    def renew_sessions(sessions: Mapping[str, str], lifetime_s: float) -> Deferred[None]:
        """
        Let sessions live for this time from now on. A session that has ended stays so.

        :param sessions: session id -> the id of the session's channel.
        """

    def ended_sessions(session_ids: Sequence[str]) -> Deferred[list[str]]:
        """Return those of the sessions that are not there any more."""

    def end_session(session_id: str) -> Deferred[bool]:
        """End a session. Fires with false if it was not there."""

    def end_sessions(channel_id: str) -> Deferred[None]:
        """End all sessions of a channel."""

    def close() -> Deferred[None]:
        """Finish what is under way and release everything. May be called without ``open``."""


class IFollower(Interface):
    """Who follows a channel live: a feed of tails."""

    def received(first: int | None, messages: list[bytes]) -> None:
        """
        Cooked messages with consecutive numbers, the first one's being ``first``; numbers grow
        from call to call. ``None``: messages of this node that could not be numbered now; they
        will not come again with a number.

        :param messages: the list is the caller's and changes after the call.
        """

    def interrupted() -> None:
        """The spool of this channel is away; what other nodes receive does not come now."""

    def resumed() -> None:
        """It is back, and what came meanwhile follows."""

    def missed() -> None:
        """Some messages may be missing between what was told before and what follows."""


@frozen
class Recent:
    """
    A channel's kept messages.

    :ivar last: the number of the channel's newest message at that moment, kept or not; 0 if the
        channel has none.
    :ivar entries: ``(number, cooked message)``, oldest first; the number is ``None`` for a
        message that was written without one.
    :ivar complete: false if a part of the spool is away; the entries are then those that can still
        be read.
    :ivar moving: the channel is numbered in two places, or was while this was read. Messages with
        numbers below :attr:`last` may still come.
    :ivar jumps: number -> the channel's number before it, if that was not one less.
    """

    last: int
    entries: list[tuple[int | None, bytes]]
    complete: bool = True
    moving: bool = False
    jumps: Mapping[int, int] = field(factory=dict)


class Step(Enum):
    """Where a replacement of the shards stands."""

    SETTLED = "settled"
    PREPARING = "preparing"
    PREPARED = "prepared"
    SWITCHING = "switching"
    COMMITTED = "committed"


class WrongStep(Exception):
    """The replacement is not where it would have to be for this; the text is for people."""


class IReplacement(Interface):
    """
    Replaces the shards of a running node, step by step (PROTOCOL §11).

    A step that was begun must not be cancelled: half of one is none of the places where it stands.
    """

    step: Step = Attribute("Where it stands.")

    def troubles() -> list[str]:
        """Why shards, old or new, are not there now: a line each, without passwords."""

    async def prepare(urls: Sequence[str]) -> None:
        """
        Reach all new shards. Raises :class:`ValueError` where the URLs make no ring,
        :class:`StoreAway` where a new shard was not there in time, with the reason for people,
        and, as the other steps do, :class:`WrongStep`.
        """

    async def commit() -> None:
        """Write to the new shards."""

    async def make_permanent() -> None:
        """Give up the shards that are not needed any more."""

    async def abort() -> None:
        """One step back."""


class ISpool(Interface):
    """
    The newest messages of every channel, numbered, and told to who follows.

    A channel's numbers grow from message to message, mostly by one. Where a sequence does not exist
    (yet, or any more) it begins at the clock's microseconds, so above all earlier numbers; what had
    no room takes numbers too.
    """

    name: str = Attribute("A description for the log.")
    replacement: IReplacement | None = Attribute(
        "Replaces the shards; ``None`` if the spool has none."
    )

    def samples() -> Iterable[Sample]:
        """Yield the present numbers of the spool, for metrics."""

    def troubles() -> list[str]:
        """Return the present failures, one line each, without passwords."""

    def append(channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """
        Number the messages, tell the followers, and keep them (unless ``keep`` is false).
        Never waits; what finds no room is dropped and counted.

        :param messages: the list is the caller's and changes after the call.
        """

    def recent(channel_id: str) -> Deferred[Recent]:
        """
        Give what is kept of the channel. If its spool is away, give what this node still has to
        write there; see :attr:`Recent.complete`. Never fails.
        """

    def join(channel_id: str, follower: IFollower) -> Deferred[Recent]:
        """
        Follow the channel: give what is kept of it, and tell the follower of what comes.

        The result arrives between two calls of the follower, and this moment is the border.
        Everything that the follower was told before is in the entries, or is not kept. Everything
        that it is told later is not in the entries. A caller that does not wait after the result
        shows every message once.

        A follower that follows already may join again, for one more reader: it gets the entries
        of that moment, and is told nothing twice.

        If the channel's spool is away, the follower has been told ``interrupted``, the entries are
        what this node still has to write there, and :attr:`Recent.complete` is false. Until
        ``resumed`` the follower is told of what this node receives. Never fails.
        """

    def leave(channel_id: str, follower: IFollower) -> None:
        """Stop telling this follower. It is no error if it does not follow."""

    def forget(channel_id: str) -> None:
        """The channel was deleted: drop what is kept of it."""

    def close() -> Deferred[None]:
        """Write what waits, within a bound, and release everything."""


class IChannelObserver(Interface):
    """An observer of the channels in the registry, such as the service of the tails."""

    def channel_put(channel: Channel) -> None:
        """Note a channel that is new, or whose name or flags have changed."""

    def channel_deleted(channel_id: str) -> None:
        """Note that a channel is deleted. Its drains are deleted one by one, before or after."""


class IDrainObserver(Interface):
    """An observer of the drains in the registry, such as the service of the drains."""

    def drain_put(drain: Drain) -> None:
        """Note a drain that is new, or whose URL has changed. A reserved drain has no URL."""

    def drain_deleted(drain: Drain) -> None:
        """Note that a drain is deleted."""


@frozen
class DrainStatus:
    """
    The state and counts of a drain on this node. Times are seconds since the epoch.

    :ivar state: the state of its lifecycle, ``reserved`` if it has no URL, or ``unusable`` if its
        URL is not allowed.
    :ivar received: the number of messages since the start of the node. Each of them is delivered,
        dropped or buffered.
    :ivar guaranteed: the number of messages that the drain may hold whatever other drains hold.
    :ivar buffered_beyond_bytes: the bytes of the messages that it holds beyond them, in the buffer
        that all drains share.
    :ivar oldest_buffered_s: the age of the oldest buffered message, by its arrival.
    :ivar last_error: a text for the channel's owner, without the secret parts of the URL.
    :ivar next_attempt: the time of the next attempt to connect; ``None`` if the drain does not wait
        for one.
    """

    state: str
    received: int = 0
    delivered: int = 0
    dropped: int = 0
    buffered: int = 0
    guaranteed: int = 0
    buffered_beyond_bytes: int = 0
    oldest_buffered_s: float | None = None
    last_success: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None
    next_attempt: float | None = None


@frozen
class DrainTest:
    """
    The outcome of a test message.

    :ivar status: the HTTP status of the receiver's answer; ``None`` without one.
    :ivar said: the beginning of the receiver's answer; printable, at most 200 characters.
    :ivar error: the reason why it was not delivered.
    """

    delivered: bool
    status: int | None = None
    said: str = ""
    error: str | None = None


class IDrains(Interface):
    """The drains of the node, as the APIs use them."""

    def status(drain_id: int) -> DrainStatus | None:
        """Return the status of a drain on this node, or ``None`` if it does not exist."""

    def test(drain_id: int) -> Deferred[DrainTest]:
        """
        Send a test message to the drain's receiver, without its buffer and its counts.

        Fires within 10 s, whatever the receiver does. Never fails.
        """


#: ``take(messages by channel, frame)`` puts messages into the journal, all or none, and fires when
#: they outlive a loss of power. ``frame`` is the digest of the request that brought them. It fails
#: with ``JournalAway`` if nothing was taken.
Take = Callable[[Mapping[str, Sequence[bytes]], bytes | None], Deferred[None]]

#: ``tell(channel_id, message, except_for)`` sends a cooked notice to all outlets of a channel but
#: one: the outlet that the notice is about.
Tell = Callable[[str, bytes, object | None], None]
