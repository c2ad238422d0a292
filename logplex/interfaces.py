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
    The interfaces of a Twisted reactor that Logplex needs. Every reactor on Linux provides them.

    A function that needs only some of these interfaces names only those, mostly ``IReactorTime``.
    """


class StoreAway(Exception):
    """
    The store cannot be reached, or did not answer in time.

    A change may or may not have been made. The text gives the reason.
    """


class StoreFailed(StoreAway):
    """The store has refused an operation, and has changed nothing. The text gives the reason."""


class StoreUnusable(Exception):
    """
    The store cannot be opened, and waiting will not help. The text gives the reason in one line.
    """


class IOutlet(Interface):
    """A receiver of a channel's messages inside the node, such as the buffer of a drain."""

    def push(messages: list[bytes]) -> None:
        """
        Accept cooked messages of the channel, in order. This call never waits, never raises an
        error, and keeps a limited number of messages.

        :param messages: one or more messages. The receiver must copy the list, because the caller
            changes the list later.
        """


class IConfigListener(Interface):
    """A listener that gets all values of a configuration store. The registry is one."""

    def loaded(values: Sequence[Value]) -> None:
        """
        Tell the listener all values of the store. This method is called once, when the store is
        opened.
        """

    def changed(changes: Sequence[Change]) -> None:
        """Tell the listener of changes that were made in the store, in the order of the changes."""


class IShareRods(Interface):
    """An object that throws control rods for all nodes of a cluster."""

    def throw(positions: Mapping[str, Position | None]) -> Deferred[None]:
        """
        Set the positions of control rods for all nodes; ``None`` resets a rod.

        The result fires when the store has the positions and this node obeys them. Other nodes
        follow later. The result fails with :class:`StoreAway`.
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
        shared with other nodes.

        The caller must call this method before :meth:`open`.

        :param told: called with all rods that are thrown for the cluster, each time one of them may
            have changed.
        """

    def samples() -> Iterable[Sample]:
        """Yield the present numbers of the store, for metrics."""

    def troubles() -> list[str]:
        """Return the present failures of the store, one line each, without passwords."""

    def open(listener: IConfigListener) -> Deferred[None]:
        """
        Load all values, and give them to the listener. Then tell the listener all changes,
        including changes by other nodes.

        The result fires after the first load.
        """

    def commit(changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        """
        Make all changes durable, or none of them. The result fires after the listener has been told
        of the changes.

        To delete a missing value is not an error. Without changes and channel the result fires at
        once.

        :param channel_id: the channel to which the changes belong. A store that has lost its values
            also writes this channel again, with its tokens and drains. A store that can lose its
            values must be reachable for this, even if there are no changes.
        """

    def new_id(counter: str) -> Deferred[int]:
        """
        Return the next number of a counter, which was never returned before. The first number is 1.

        :param counter: ``"channel_index"`` or ``"drain_index"``.
        """

    def count_healthcheck() -> Deferred[int]:
        """
        Add 1 to the counter ``healthcheck``, and return it. This proves that the store can write.
        """

    def put_session(session_id: str, body: bytes, lifetime_s: float) -> Deferred[None]:
        """Keep the JSON of a session for a number of seconds. Expired sessions are removed."""

    def get_session(session_id: str) -> Deferred[bytes | None]:
        """Return the JSON of a session; ``None`` if the session does not exist or has expired."""

    def renew_sessions(sessions: Mapping[str, str], lifetime_s: float) -> Deferred[None]:
        """
        Let sessions end this number of seconds from now. A session that has already ended is not
        revived.

        :param sessions: the ids of the sessions, each with the id of its channel.
        """

    def ended_sessions(session_ids: Sequence[str]) -> Deferred[list[str]]:
        """Return the ids of those given sessions that have ended."""

    def end_session(session_id: str) -> Deferred[bool]:
        """End a session. The result is false if the session did not exist."""

    def end_sessions(channel_id: str) -> Deferred[None]:
        """End all sessions of a channel."""

    def close() -> Deferred[None]:
        """
        Finish the operations that are going on, and close the store. A store that was not opened
        may be closed.
        """


class IFollower(Interface):
    """A follower of the live messages of a channel, such as the channel's tails."""

    def received(first: int | None, messages: list[bytes]) -> None:
        """
        Tell the follower cooked messages of the channel with consecutive numbers. The numbers grow
        from call to call.

        :param first: the number of the first message. ``None`` means messages of this node without
            numbers, which will not come again with numbers.
        :param messages: one or more messages. The follower must copy the list, because the caller
            changes the list later.
        """

    def interrupted() -> None:
        """
        Tell the follower that the channel's spool is away, so that messages of other nodes do not
        arrive.
        """

    def resumed() -> None:
        """
        Tell the follower that the channel's spool is back. The messages of the meantime follow.
        """

    def missed() -> None:
        """Tell the follower that messages may be missing between the last message and the next."""


@frozen
class Recent:
    """
    The messages that the spool keeps of a channel, at one moment.

    :ivar last: the number of the channel's newest message, even if the message is not kept; 0 if
        there is none.
    :ivar entries: ``(number, cooked message)``, oldest first; the number is ``None`` for a
        message that was written without one.
    :ivar complete: false if a part of the spool is away, so that entries may be missing.
    :ivar moving: true if the channel has two shards, or had two while it was read, because shards
        are replaced. Messages with numbers below :attr:`last` may still come.
    :ivar jumps: for each message after a jump of the numbers, its number and the number before the
        jump.
    """

    last: int
    entries: list[tuple[int | None, bytes]]
    complete: bool = True
    moving: bool = False
    jumps: Mapping[int, int] = field(factory=dict)


class Step(Enum):
    """The present step of a replacement of the shards."""

    SETTLED = "settled"
    PREPARING = "preparing"
    PREPARED = "prepared"
    SWITCHING = "switching"
    COMMITTED = "committed"


class WrongStep(Exception):
    """
    The replacement of the shards is not at the step that an operation needs. The text gives the
    reason.
    """


class IReplacement(Interface):
    """
    The replacement of the shards of a running node, in steps (PROTOCOL §11).

    A step that has begun must not be cancelled, because it cannot stop halfway. Each step raises
    :class:`WrongStep` if it is not the next step.
    """

    step: Step = Attribute("The present step.")

    def troubles() -> list[str]:
        """Return a line for each old or new shard that is away: the reason, without passwords."""

    async def prepare(urls: Sequence[str]) -> None:
        """
        Do the first step: connect to all new shards.

        :raise ValueError: the URLs do not make a ring.
        :raise StoreAway: a new shard could not be reached in time; the text is for people.
        """

    async def commit() -> None:
        """Do the second step: write to the new shards."""

    async def make_permanent() -> None:
        """Do the last step: close the old shards that are not needed any more."""

    async def abort() -> None:
        """Go one step of the replacement back."""


class ISpool(Interface):
    """
    The spool: it numbers and keeps the newest messages of every channel, and tells followers of
    them.

    The numbers of a channel grow from message to message, mostly by one. The numbers of a new
    channel, or of a channel whose numbers were lost, begin at the clock's microseconds, so they are
    above all earlier numbers. Dropped messages take numbers too.
    """

    name: str = Attribute("A description for the log.")
    replacement: IReplacement | None = Attribute(
        "Replaces the shards; ``None`` if the spool has none."
    )

    def samples() -> Iterable[Sample]:
        """Yield the present numbers of the spool, for metrics."""

    def troubles() -> list[str]:
        """Return the present failures of the spool, one line each, without passwords."""

    def append(channel_id: str, messages: list[bytes], keep: bool = True) -> None:
        """
        Number messages of a channel, tell followers of them, and keep the messages (unless ``keep``
        is false).

        This call never waits. Messages without room are dropped and counted.

        :param messages: one or more messages. The spool must copy the list, because the caller
            changes the list later.
        """

    def recent(channel_id: str) -> Deferred[Recent]:
        """
        Return the kept messages of the channel. The result never fails.

        If the channel's spool is away, return the messages that this node still has to write; see
        :attr:`Recent.complete`.
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
        """Tell a follower no more messages of the channel. An unknown follower is not an error."""

    def forget(channel_id: str) -> None:
        """Drop the kept messages of a channel, because the channel was deleted."""

    def close() -> Deferred[None]:
        """Write the waiting messages, within a time limit, and close the spool."""


class IChannelObserver(Interface):
    """An observer of the channels in the registry, such as the service of the tails."""

    def channel_put(channel: Channel) -> None:
        """Tell the observer of a channel that is new, or whose name or flags have changed."""

    def channel_deleted(channel_id: str) -> None:
        """
        Tell the observer that a channel was deleted. The drains of the channel are deleted
        separately, before or after.
        """


class IDrainObserver(Interface):
    """An observer of the drains in the registry, such as the service of the drains."""

    def drain_put(drain: Drain) -> None:
        """
        Tell the observer of a drain that is new, or whose URL has changed. A reserved drain has no
        URL.
        """

    def drain_deleted(drain: Drain) -> None:
        """Tell the observer that a drain was deleted."""


@frozen
class DrainStatus:
    """
    The state and counts of a drain on this node. Times are seconds since the epoch.

    :ivar state: the state of the drain's lifecycle; ``reserved`` if the drain has no URL, or
        ``unusable`` if its URL is not allowed.
    :ivar received: the number of messages that the drain has received since the node started. Each
        message is delivered, dropped or buffered.
    :ivar guaranteed: the number of messages for which the drain always has room.
    :ivar buffered_beyond_bytes: the size of further messages, in the buffer that all drains share.
    :ivar oldest_buffered_s: the time since the arrival of the oldest buffered message, in seconds.
    :ivar last_error: a text for the channel's owner, without the secret parts of the URL.
    :ivar since: the time from which on the drain fails; ``None`` if it does not.
    :ivar next_attempt: the time of the next attempt to connect; ``None`` if the drain does not wait
        for an attempt.
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
    since: float | None = None
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
    The result of a test message to the receiver of a drain.

    :ivar status: the HTTP status of the receiver's answer; ``None`` without an answer.
    :ivar said: the beginning of the receiver's answer; printable, at most 200 characters.
    :ivar error: the reason why the test message was not delivered.
    """

    delivered: bool
    status: int | None = None
    said: str = ""
    error: str | None = None


class IDrains(Interface):
    """The drains of the node, as the APIs use them."""

    def status(drain_id: int) -> DrainStatus | None:
        """Return the status of a drain on this node; ``None`` if the drain does not exist."""

    def test(drain_id: int) -> Deferred[DrainTest]:
        """
        Send a test message to the receiver of a drain. The message is not buffered and not counted.

        The result fires within 10 s, whatever the receiver does, and never fails.
        """


#: ``take(messages by channel, frame)`` puts messages into the journal, all or none, and fires when
#: they survive a loss of power. ``frame`` is the digest of the request that brought them. It fails
#: with ``JournalAway`` if nothing was taken.
Take = Callable[[Mapping[str, Sequence[bytes]], bytes | None], Deferred[None]]

#: ``tell(channel_id, message, except_for)`` sends a cooked notice to all outlets of a channel but
#: one: the outlet that the notice is about.
Tell = Callable[[str, bytes, object | None], None]
