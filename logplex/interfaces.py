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
    """The listener of a configuration store: the registry."""

    def loaded(values: Sequence[Value]) -> None:
        """Take all values of the store; called once, on opening."""

    def changed(changes: Sequence[Change]) -> None:
        """Take changes that took effect, in this order."""


class IShareRods(Interface):
    """An object that throws control rods for all nodes of a cluster."""

    def throw(positions: Mapping[str, Position | None]) -> Deferred[None]:
        """
        Throw rods for all nodes. Fires when the store has the positions, and this node obeys them;
        the other nodes follow. ``None`` resets a rod. Fails with :class:`StoreAway`.
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
        """Return those of the sessions that have ended."""

    def end_session(session_id: str) -> Deferred[bool]:
        """End a session. Fires with false if it did not exist."""

    def end_sessions(channel_id: str) -> Deferred[None]:
        """End all sessions of a channel."""

    def close() -> Deferred[None]:
        """Finish open operations and release everything. May be called without ``open``."""


class IFollower(Interface):
    """A follower of a channel's live messages, such as its tails."""

    def received(first: int | None, messages: list[bytes]) -> None:
        """
        Take cooked messages with consecutive numbers. Numbers grow from call to call.

        :param first: the number of the first message. ``None``: these messages of this node have no
            numbers, and will not come again with numbers.
        :param messages: one or more. The caller changes the list after the call: copy it.
        """

    def interrupted() -> None:
        """Note that the spool of the channel is away: messages of other nodes do not arrive."""

    def resumed() -> None:
        """Note that the spool is back. The messages received meanwhile follow."""

    def missed() -> None:
        """Note that messages may be missing at this place."""


@frozen
class Recent:
    """
    The kept messages of a channel, at one moment.

    :ivar last: the number of the channel's newest message, kept or not; 0 if it has none.
    :ivar entries: ``(number, cooked message)``, oldest first; the number is ``None`` for a
        message that was written without one.
    :ivar complete: false if a part of the spool is away, so that entries may be missing.
    :ivar moving: true if the channel has two homes, or had while it was read. Messages with numbers
        below :attr:`last` may still come.
    :ivar jumps: number -> the channel's number before it, if that is not one less.
    """

    last: int
    entries: list[tuple[int | None, bytes]]
    complete: bool = True
    moving: bool = False
    jumps: Mapping[int, int] = field(factory=dict)


class Step(Enum):
    """The step of a replacement of the shards."""

    SETTLED = "settled"
    PREPARING = "preparing"
    PREPARED = "prepared"
    SWITCHING = "switching"
    COMMITTED = "committed"


class WrongStep(Exception):
    """The replacement is at another step than this operation needs; the text is for people."""


class IReplacement(Interface):
    """
    The replacement of the shards of a running node, step by step (PROTOCOL §11).

    A step that has begun must not be cancelled, because it cannot stop halfway. Each step raises
    :class:`WrongStep` if it is not the next one.
    """

    step: Step = Attribute("The present step.")

    def troubles() -> list[str]:
        """Return a line for each shard, old or new, that is away: the reason, without passwords."""

    async def prepare(urls: Sequence[str]) -> None:
        """
        Connect to all new shards.

        :raise ValueError: the URLs do not make a ring.
        :raise StoreAway: a new shard could not be reached in time; the text is for people.
        """

    async def commit() -> None:
        """Write to the new shards."""

    async def make_permanent() -> None:
        """Give up the shards that are not needed any more."""

    async def abort() -> None:
        """Go one step back."""


class ISpool(Interface):
    """
    The spool: the newest messages of every channel, numbered, and told to followers.

    The numbers of a channel grow from message to message, mostly by one. A new sequence, or one
    that was lost, begins at the clock's microseconds, so above all earlier numbers. Dropped
    messages take numbers too.
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
        Never waits. Messages without room are dropped and counted.

        :param messages: one or more. The caller changes the list after the call: copy it.
        """

    def recent(channel_id: str) -> Deferred[Recent]:
        """
        Return the kept messages of the channel. If its spool is away, return the messages that this
        node still has to write; see :attr:`Recent.complete`. Never fails.
        """

    def join(channel_id: str, follower: IFollower) -> Deferred[Recent]:
        """
        Follow the channel: return its kept messages, and tell the follower all messages from then
        on.

        The result fires at a moment between two calls of the follower. Messages that the follower
        was told before are in the entries, or are not kept. Messages that it is told later are not
        in the entries. So a caller that does not wait after the result sees every message once.

        A follower may join again, for one more reader: it gets the entries of that moment, and is
        told no message twice.

        If the channel's spool is away, the follower has been told ``interrupted``, the entries are
        the messages that this node still has to write, and :attr:`Recent.complete` is false. Until
        ``resumed`` the follower is told the messages that this node receives. Never fails.
        """

    def leave(channel_id: str, follower: IFollower) -> None:
        """Stop telling this follower. It is not an error if it does not follow."""

    def forget(channel_id: str) -> None:
        """Drop the kept messages of a channel, because it was deleted."""

    def close() -> Deferred[None]:
        """Write the waiting messages, within a bound, and release everything."""


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
    :ivar guaranteed: the number of messages for which the drain always has room.
    :ivar buffered_beyond_bytes: the bytes of its further messages, in the buffer that all drains
        share.
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
class DurableStatus(DrainStatus):
    """
    The state of a durable drain, and its backlog in the journal of this node.

    :ivar lag_messages: the number of messages that are neither delivered nor given up;
        ``lag_bytes`` is their size, in which a partly delivered row of the journal counts whole.
    :ivar lag_s: the age of the oldest of them, by the time at which it was written.
    :ivar in_flight: how many of them are being sent.
    :ivar set_aside: how many of them the receiver refused, and are tried once more.
    """

    lag_messages: int = 0
    lag_bytes: int = 0
    lag_s: float | None = None
    in_flight: int = 0
    set_aside: int = 0


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
#: they survive a loss of power. ``frame`` is the digest of the request that brought them. It fails
#: with ``JournalAway`` if nothing was taken.
Take = Callable[[Mapping[str, Sequence[bytes]], bytes | None], Deferred[None]]

#: ``tell(channel_id, message, except_for)`` sends a cooked notice to all outlets of a channel but
#: one: the outlet that the notice is about.
Tell = Callable[[str, bytes, object | None], None]
