# SPDX-License-Identifier: Apache-2.0

"""The configuration store of a cluster: one Redis that all nodes share, including Erlang nodes."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, TypeVar

from twisted.internet.defer import CancelledError, Deferred, DeferredList, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.clock import wall_s
from logplex.configuration.redis.contents import Contents
from logplex.configuration.redis.keys import PATTERNS, commands_of, session_key, sessions_key
from logplex.configuration.redis.notifications import Notifications
from logplex.configuration.redis.reader import READ_MARK, ConfigurationReader
from logplex.configuration.redis.rods import SharedRods
from logplex.interfaces import IConfigListener, IConfigStore, RodsTold, StoreAway
from logplex.metrics import Sample
from logplex.model.session import channel_of_session
from logplex.model.values import Change
from logplex.redis.connection import Argument, Refused
from logplex.redis.link import Connect

_log = Logger()

_T = TypeVar("_T")

#: The interval in which the node checks that notifications come. If they do not come, it loads
#: everything in the same interval.
RESCAN_INTERVAL_S = 30.0
_RETRY_DELAY_S = 1.0
#: The most sessions that one command, or one transaction, is about.
_SESSIONS_AT_ONCE = 500
#: The greatest difference between the clocks of nodes. An ended session stays listed for this time.
_CLOCK_DIFFERENCE_S = 3_600.0


@implementer(IConfigStore)
class RedisConfigStore:
    """
    A configuration store in Redis; see :class:`IConfigStore`.

    One connection carries commands. A second connection carries events about changed keys. The
    store loads all values when both are connected, and again each time after one of them was lost.

    :param rescan_interval_s: see :data:`RESCAN_INTERVAL_S`.
    """

    def __init__(
        self,
        connect: Connect,
        clock: IReactorTime,
        rescan_interval_s: float = RESCAN_INTERVAL_S,
    ) -> None:
        self._clock = clock
        self._rescan_interval_s = rescan_interval_s
        self._contents = Contents()
        self._link = connect(name="configuration", up=self._up, down=self._lost)
        self.name = str(self._link.address)
        self.directory = None
        self._reader = ConfigurationReader(self._link, self._contents, self._up)
        self._notifications = Notifications(
            connect,
            self._link,
            clock,
            changed=self._reader.changed,
            evicted=self._contents.evicted,
            up=self._up,
            down=self._down,
        )
        self._opened: Deferred[None] = Deferred()
        self._following: Deferred[None] | None = None
        #: Grows each time that following begins or ends. A coroutine that runs at that moment
        #: cannot be cancelled, but sees that the number is not its own any more.
        self._turn = 0
        self._commits: set[Deferred[None]] = set()
        #: True if everything was read since the connection for commands was made.
        self._is_current = False
        self._refusal: str | None = None
        #: The mark at the last look at the sessions, and the sessions that Redis has lost.
        self._sessions_mark: object = None
        self._lost_sessions: set[str] = set()

    def share_rods(self, told: RodsTold) -> SharedRods:
        """See :class:`IConfigStore`."""
        rods = SharedRods(self._transact, told)
        self._reader.follow(rods.followed)
        self._notifications.patterns.extend(key.decode() for key in rods.followed.keys)
        return rods

    def open(self, listener: IConfigListener) -> Deferred[None]:
        """See :class:`IConfigStore`. The result fires when Redis can be reached."""
        self._contents.listener = listener
        self._notifications.patterns.extend(PATTERNS)
        self._link.start()
        self._notifications.link.start()
        return self._opened

    def commit(self, changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        if not changes and channel_id is None:
            return succeed(None)
        commit = Deferred.fromCoroutine(self._commit(tuple(changes), channel_id))
        if not commit.called:
            self._commits.add(commit)
            commit.addBoth(self._committed, commit)
        return commit

    def new_id(self, counter: str) -> Deferred[int]:
        """See :class:`IConfigStore`."""
        return Deferred.fromCoroutine(self._new_id(counter))

    def count_healthcheck(self) -> Deferred[int]:
        """See :class:`IConfigStore`."""
        return self._ask("INCR", "healthcheck")

    def put_session(self, session_id: str, body: bytes, lifetime_s: float) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        setting = ("SETEX", session_key(session_id), math.ceil(lifetime_s), body)
        channel_id = channel_of_session(body)
        listing = [] if channel_id is None else self._listing(channel_id, session_id, lifetime_s)
        return self._transact([setting, *listing]).addCallback(lambda _: None)

    def get_session(self, session_id: str) -> Deferred[bytes | None]:
        """See :class:`IConfigStore`."""
        return self._ask("GET", session_key(session_id))

    def renew_sessions(self, sessions: Mapping[str, str], lifetime_s: float) -> Deferred[None]:
        """See :class:`IConfigStore`."""
        return Deferred.fromCoroutine(self._renew_sessions(sessions, lifetime_s))

    def ended_sessions(self, session_ids: Sequence[str]) -> Deferred[list[str]]:
        """See :class:`IConfigStore`."""
        return Deferred.fromCoroutine(self._ended_sessions(session_ids))

    def end_session(self, session_id: str) -> Deferred[bool]:
        """See :class:`IConfigStore`."""
        return self._ask("DEL", session_key(session_id)).addCallback(bool)

    def end_sessions(self, channel_id: str) -> Deferred[None]:
        """See :class:`IConfigStore`. Sessions that Erlang nodes have made do not end."""
        return Deferred.fromCoroutine(self._end_sessions(channel_id))

    def close(self) -> Deferred[None]:
        """See :class:`IConfigStore`. Open commits may take as long as the timeout of the link."""
        return Deferred.fromCoroutine(self._close())

    def troubles(self) -> list[str]:
        """See :class:`IConfigStore`."""
        notifications = self._notifications
        troubles = [self._link.trouble]
        if self._link.connected:
            if not self._is_current and not self._refusal:
                troubles.append("the configuration is being read, and cannot be changed now")
            troubles += [notifications.link.trouble, notifications.trouble, self._refusal]
        missing = self._contents.emptied
        if missing:
            troubles.append(
                f"Redis {self._contents.loss}: {missing} values that this node knows are not in it"
            )
        if self._reader.may_evict:
            troubles.append(
                f"Redis ({self._link.address}) may evict the configuration: set its option"
                f" maxmemory-policy to noeviction (it is {self._reader.may_evict})"
            )
        return [trouble for trouble in troubles if trouble]

    def samples(self) -> Iterable[Sample]:
        """See :class:`IConfigStore`."""
        yield Sample(
            "logplex_store_connected",
            "1 while the configuration Redis answers",
            float(self._link.connected),
        )
        yield Sample(
            "logplex_store_following",
            "1 while Redis sends events about changes, so that nodes need not look for them",
            float(self._notifications.working is True),
        )
        yield Sample(
            "logplex_store_missing_values",
            "Values that this node knows and Redis has lost: it was emptied, or evicted them",
            self._contents.emptied,
        )
        yield Sample(
            "logplex_store_malformed_keys",
            "Keys of the configuration that could not be understood",
            self._contents.malformed,
        )

    def _ask(self, *command: Argument) -> Deferred[Any]:
        """Send a command to Redis. If Redis refuses the command, treat Redis as away."""
        return self._link.ask(*command).addErrback(_refusal_is_away)

    def _transact(self, commands: Sequence[Sequence[Argument]]) -> Deferred[list[Any]]:
        """Send commands in one transaction. If Redis refuses one, treat Redis as away."""
        return self._link.transact(commands).addErrback(_refusal_is_away)

    async def _renew_sessions(self, sessions: Mapping[str, str], lifetime_s: float) -> None:
        for part in _parts(list(sessions.items())):
            commands: list[Sequence[Argument]] = []
            for session_id, channel_id in part:
                commands.append(("EXPIRE", session_key(session_id), math.ceil(lifetime_s)))
                commands += self._listing(channel_id, session_id, lifetime_s)
            await self._transact(commands)

    async def _ended_sessions(self, session_ids: Sequence[str]) -> list[str]:
        """Return the sessions that have ended. A session that Redis has lost has not ended."""
        missing = await self._missing_sessions(session_ids)
        # Last, because Redis may have been emptied meanwhile.
        [answer] = await self._link.ask_all([READ_MARK])
        mark = None if isinstance(answer, Refused) else answer
        before, self._sessions_mark = self._sessions_mark, mark
        self._lost_sessions &= missing
        if self._contents.emptied or before not in (None, mark):
            self._lost_sessions |= missing
        return list(missing - self._lost_sessions)

    async def _missing_sessions(self, session_ids: Sequence[str]) -> set[str]:
        missing: set[str] = set()
        open_parts = list(_parts(session_ids))
        while open_parts:
            part = open_parts.pop()
            count = await self._ask("EXISTS", *map(session_key, part))
            if count < len(part):
                if count == 0:
                    missing.update(part)
                else:
                    half = len(part) // 2
                    open_parts += [part[:half], part[half:]]
        return missing

    async def _end_sessions(self, channel_id: str) -> None:
        listed = sessions_key(channel_id)
        for part in _parts(await self._ask("ZRANGE", listed, 0, -1)):
            await self._ask("DEL", *(session_key(each.decode()) for each in part))
        await self._ask("DEL", listed)

    def _listing(
        self, channel_id: str, session_id: str, lifetime_s: float
    ) -> list[Sequence[Argument]]:
        """Return the commands that add a session to the Redis set of its channel's sessions."""
        listed, now_s = sessions_key(channel_id), wall_s(self._clock)
        return [
            ("ZADD", listed, math.ceil(now_s + lifetime_s), session_id),
            ("ZREMRANGEBYSCORE", listed, "-inf", math.floor(now_s - _CLOCK_DIFFERENCE_S)),
            ("EXPIRE", listed, math.ceil(lifetime_s + _CLOCK_DIFFERENCE_S)),
        ]

    async def _commit(self, changes: Sequence[Change], channel_id: str | None) -> None:
        if not self._is_current:
            # The caller does not know what has changed while Redis was away.
            raise StoreAway("the configuration is being read")
        contents = self._contents
        deleted = contents.deleted_by(changes)
        if contents.emptied:
            await self._write(contents.whole(changes, deleted, channel_id))
        elif await self._write(changes):
            # It is known only now that Redis was emptied. Other commits may have found the same.
            contents.was_emptied()
            await self._transact(_commands(contents.whole(changes, deleted, channel_id)))

    async def _write(self, changes: Sequence[Change]) -> bool:
        """Write changes to Redis. Return true if Redis was emptied since the last load."""
        written = self._transact(_commands(changes))
        asked = self._link.ask_all([READ_MARK])
        try:
            await written
            # Before the next answer on this connection: what it says is newer.
            self._contents.apply(changes)
        finally:
            [mark] = await asked
        return self._reader.mark.is_gone(mark)

    def _committed(self, result: object, commit: Deferred[None]) -> object:
        self._commits.discard(commit)
        return result

    async def _new_id(self, counter: str) -> int:
        given: int = await self._ask("INCR", counter)
        highest = self._contents.highest(counter)
        if given <= highest:
            # An emptied Redis has lost the counter, but the node still has the values.
            given = await self._ask("INCRBY", counter, highest + 1 - given)
        return given

    async def _close(self) -> None:
        await DeferredList(list(self._commits), consumeErrors=True)
        self._stop_following()
        self._reader.stop()
        await self._notifications.link.stop()
        await self._link.stop()

    def _up(self) -> None:
        """Start to follow the changes in Redis, because a connection was made."""
        self._stop_following()
        if self._link.connected and self._notifications.link.connected:
            self._following = Deferred.fromCoroutine(self._follow(self._turn))
            self._following.addErrback(self._follow_ended)

    def _lost(self) -> None:
        """Mark the known values as outdated, because the connection to Redis is lost."""
        self._is_current = False
        self._down()

    def _down(self) -> None:
        self._notifications.working = None
        self._stop_following()

    def _stop_following(self) -> None:
        self._turn += 1
        following, self._following = self._following, None
        if following is not None:
            following.cancel()

    async def _follow(self, turn: int) -> None:
        """Load all values, and load them again each time a change may have been missed."""
        complete = False
        while turn == self._turn:
            try:
                complete = await self._check(complete)
                self._refusal = None
                pause_s = self._rescan_interval_s
            except (StoreAway, Refused) as error:
                complete = False
                self._cannot_read(str(error))
                pause_s = _RETRY_DELAY_S
            if turn == self._turn:
                await deferLater(self._clock, pause_s)

    async def _check(self, complete: bool) -> bool:
        """
        Load all values, unless events have reported every change since the last load.

        :param complete: true if all events since the last load have arrived.
        :return: true if events arrive from now on.
        """
        notifications = self._notifications
        if complete:
            await notifications.probe()
        if not notifications.working or not complete:
            complete = False
            await notifications.switch_on()
        if not complete or self._contents.emptied or await self._reader.lost_everything():
            await self._reader.load()
            self._is_current = True
            if not self._opened.called:
                self._opened.callback(None)
        return notifications.working is True

    def _cannot_read(self, because: str) -> None:
        refusal = f"the configuration cannot be read: {because}"
        if refusal != self._refusal:
            self._refusal = refusal
            _log.warn("{refusal}", refusal=refusal)

    def _follow_ended(self, failure: Failure) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure(
                "bug: changes of the configuration in Redis are no longer followed", failure
            )


def _commands(changes: Sequence[Change]) -> list[Sequence[Argument]]:
    return [command for each in changes for command in commands_of(each)]


def _refusal_is_away(failure: Failure) -> Failure:
    """
    Turn the refusal of a command by Redis into :class:`StoreAway`.

    The cause is a key of the wrong type or a missing permission, and only the operator can remove
    it.
    """
    if isinstance(failure.value, Refused):
        _log.error("Redis refuses a command: {error}", error=str(failure.value))
        raise StoreAway(f"Redis refuses a command: {failure.value}")
    return failure


def _parts(items: Sequence[_T]) -> Iterator[Sequence[_T]]:
    """Yield parts of a sequence, each with at most ``_SESSIONS_AT_ONCE`` items."""
    for start in range(0, len(items), _SESSIONS_AT_ONCE):
        yield items[start : start + _SESSIONS_AT_ONCE]
