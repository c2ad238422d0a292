# SPDX-License-Identifier: Apache-2.0

"""
Keyspace notifications: events from Redis that name the keys which any client has changed.

An event only names a key. Redis sends events only if its settings say so. To find out, this node
writes and deletes a key of its own, and waits for the events of this key.
"""

from __future__ import annotations

from collections.abc import Callable
from uuid import uuid4

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from logplex.redis.connection import Refused
from logplex.redis.link import Connect, RedisLink

_log = Logger()

#: Keyspace events (K) of generic commands (g), strings ($), hashes (h), expiry (x), eviction (e).
NEEDED_FLAGS = "Kg$hxe"
#: The needed flags that the flag ``A`` includes.
_ALL_FLAGS = "g$hxe"
_SETTING = "notify-keyspace-events"
_PROBE_TIMEOUT_S = 1.0
#: The events of a key that is not there any more, but for one that was evicted.
_REMOVALS = frozenset({b"del", b"expired", b"move_from", b"rename_from"})
#: The event of a key that Redis has removed because it needs memory.
_EVICTED = b"evicted"


def missing_flags(present: str) -> str:
    """Return the flags that a value of the option ``notify-keyspace-events`` needs and lacks."""
    has = present + (_ALL_FLAGS if "A" in present else "")
    return "".join(flag for flag in NEEDED_FLAGS if flag not in has)


class Notifications:
    """
    The events about changed keys in Redis, received over a separate connection.

    :param commands: the link for all commands except subscriptions.
    :param changed: called with the key of every event except evictions, and with true if the key
        was deleted.
    :param evicted: called with each key that Redis has evicted.
    :param up: called when the connection can be used. The caller should then call
        :meth:`switch_on`.
    :param down: called when the connection is lost, so that events may have been missed.
    :ivar patterns: the patterns of the keys of interest. Add patterns before the link is started.
    :ivar working: true if events arrive; ``None`` before the first test.
    """

    def __init__(
        self,
        connect: Connect,
        commands: RedisLink,
        clock: IReactorTime,
        *,
        changed: Callable[[bytes, bool], None],
        evicted: Callable[[bytes], None],
        up: Callable[[], None],
        down: Callable[[], None],
    ) -> None:
        self._commands = commands
        self._clock = clock
        self._changed = changed
        self._evicted = evicted
        self._probe_key = f"logplex:probe:{uuid4().hex}".encode()
        self.patterns = [self._probe_key.decode()]
        self._prefix = f"__keyspace@{commands.address.db}__:".encode()
        self._awaited: set[bytes] = set()
        self._came: Deferred[None] = Deferred()
        self.working: bool | None = None
        self._refusal = ""
        self._told = False
        self.link = connect(name="notifications", up=up, down=down, received=self._received)

    @property
    def trouble(self) -> str | None:
        """
        The reason why no events arrive, with advice for the operator; ``None`` if events arrive.
        """
        if self.working is not False or not self.link.connected:
            return None
        because = f" ({self._refusal})" if self._refusal else ""
        return (
            f"Redis ({self.link.address}) sends no events about changes{because}: set its option"
            f' {_SETTING} to "{NEEDED_FLAGS}"; until then the node reads everything every 30 s'
        )

    async def switch_on(self) -> None:
        """
        Subscribe to events, and let Redis send them if it permits this. Then set :attr:`working`.

        The result fails with :class:`StoreAway`.
        """
        self._refusal = ""
        try:
            for pattern in self.patterns:
                await self.link.ask("PSUBSCRIBE", self._prefix + pattern.encode())
            await self._set_flags()
        except Refused as error:
            self._refusal = str(error)
        await self.probe()

    async def probe(self) -> None:
        """
        Test if events arrive, and set :attr:`working`. The result fails with :class:`StoreAway`.
        """
        self._awaited = {b"hset", b"del"}
        came: Deferred[None] = Deferred()
        self._came = came
        came.addTimeout(_PROBE_TIMEOUT_S, self._clock)
        came.addErrback(lambda _: None)
        try:
            await self._commands.ask("HMSET", self._probe_key, "probe", "1")
            await self._commands.ask("DEL", self._probe_key)
            await came
        except Refused as error:
            self._refusal = str(error)
        finally:
            came.cancel()
        self.working = not self._awaited
        trouble = self.trouble
        if trouble is not None and not self._told:
            _log.warn("{trouble}", trouble=trouble)
        self._told = trouble is not None

    async def _set_flags(self) -> None:
        """Add the missing flags to the option of Redis that switches events on."""
        answer = await self._commands.ask("CONFIG", "GET", _SETTING)
        present = answer[1].decode() if answer else ""
        missing = missing_flags(present)
        if missing:
            await self._commands.ask("CONFIG", "SET", _SETTING, present + missing)
            _log.info(
                'Redis now sends keyspace notifications: {setting} was "{present}", is "{now}"',
                setting=_SETTING,
                present=present,
                now=present + missing,
            )

    def _received(self, channel: bytes, event: bytes) -> None:
        key = channel.removeprefix(self._prefix)
        if key != self._probe_key and event == _EVICTED:
            self._evicted(key)
        elif key != self._probe_key:
            self._changed(key, event in _REMOVALS)
        elif event in self._awaited:
            self._awaited.remove(event)
            if not self._awaited:
                self._came.callback(None)
