# SPDX-License-Identifier: Apache-2.0

"""
Keep the sessions of open tails alive, and end the tails of sessions that have ended.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from logplex.access.owners import owner_key
from logplex.interfaces import IConfigStore, StoreAway
from logplex.live import Live
from logplex.settings import Limits
from logplex.tails.tail import Tail

_log = Logger()

#: The interval in which a node looks if the sessions that it streams are still there.
CHECK_INTERVAL_S = 1.0


@define(eq=False, repr=False)
class _Lease:
    """
    A session that at least one open tail on this node is reading.

    :ivar may_read: returns false if the session's owner may not read the channel any more.
    :ivar renewed_s: the time of the last renewal of the session, in seconds since the epoch.
    :ivar tails: the tails on this node that read the session.
    """

    channel_id: str
    may_read: Callable[[], bool]
    renewed_s: float
    tails: list[Tail] = field(factory=list)


@define(eq=False, repr=False)
class Leases:
    """
    Keep a session alive while tails read it, so that a client can reconnect to its session. End the
    tails of a session that was ended or has lost its owner.

    All sessions are checked together, once a second. A session is renewed after a third of its
    lifetime, and when its last tail ends.
    """

    store: IConfigStore
    clock: IReactorTime
    limits: Live[Limits]
    _held: dict[str, _Lease] = field(factory=dict)
    _timer: IDelayedCall | None = None

    def hold(
        self, session_id: str, channel_id: str, tail: Tail, may_read: Callable[[], bool]
    ) -> None:
        """
        Keep a session alive until the tail ends.

        :param may_read: returns false if the session's owner may not read the channel any more.
        """
        lease = self._held.get(session_id)
        if lease is None:
            lease = self._held[session_id] = _Lease(channel_id, may_read, self.clock.seconds())
        lease.tails.append(tail)
        if self._timer is None:
            self._set_timer()

    async def stop(self) -> None:
        """Renew all sessions a last time, and stop the checks."""
        if self._timer is not None:
            if self._timer.active():
                self._timer.cancel()
            self._timer = None
        held, self._held = self._held, {}
        with suppress(StoreAway):
            await self._renew(held)

    def _set_timer(self) -> None:
        self._timer = self.clock.callLater(CHECK_INTERVAL_S, self._look)

    def _look(self) -> None:
        looking = Deferred.fromCoroutine(self._check())
        looking.addErrback(lambda failure: _log.failure("bug: leases", failure=failure))
        looking.addBoth(lambda _: self._look_again())

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer = None
            if self._held:
                self._set_timer()

    async def _check(self) -> None:
        try:
            self._end([each for each, lease in self._held.items() if not lease.may_read()])
            self._end(await self.store.ended_sessions(list(self._held)))
            await self._renew(self._due())
        except StoreAway:
            pass  # Sessions do not end because the store is away.

    def _end(self, session_ids: Iterable[str]) -> None:
        for session_id in session_ids:
            lease = self._held.pop(session_id, None)
            for tail in lease.tails if lease else ():
                tail.end()

    def _due(self) -> dict[str, _Lease]:
        """
        Return the sessions that must be renewed now. Forget the sessions that have no open tail.
        """
        now, due = self.clock.seconds(), {}
        for session_id, lease in list(self._held.items()):
            lease.tails = [tail for tail in lease.tails if not tail.is_over]
            if not lease.tails:
                del self._held[session_id]
            if not lease.tails or lease.renewed_s + self.limits.now.session_lifetime_s / 3 <= now:
                due[session_id] = lease
        return due

    async def _renew(self, leases: Mapping[str, _Lease]) -> None:
        if leases:
            now = self.clock.seconds()
            channels: dict[str, str] = {}
            for session_id, lease in leases.items():
                # In this order: the owner must not expire before its session.
                channels[session_id] = channels[owner_key(session_id)] = lease.channel_id
            await self.store.renew_sessions(channels, self.limits.now.session_lifetime_s)
            for lease in leases.values():
                lease.renewed_s = now
