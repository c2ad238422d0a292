"""
Reading the configuration Redis: everything, or the keys that have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any

from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from logplex.interfaces import StoreAway
from logplex.store.redis_connection import Argument
from logplex.store.redis_contents import Contents
from logplex.store.redis_keys import Malformed, name_of
from logplex.store.redis_link import RedisLink

_log = Logger()

#: Keys that one ``SCAN`` looks at, and that are read in one go.
_KEYS_AT_ONCE = 500
#: Every key of a value is matched by one of them.
_SCAN_PATTERNS = ("*:data", "cred:*")

#: Is told what a command about a followed key answers now.
Told = Callable[[Any], None]


class Reader:
    """
    Enters what Redis holds into the contents.

    :param missed: called where changed keys could not be read although Redis is there.
    """

    def __init__(self, link: RedisLink, contents: Contents, missed: Callable[[], None]) -> None:
        self._link = link
        self._contents = contents
        self._missed = missed
        self._followed: dict[bytes, tuple[Sequence[Argument], Told]] = {}
        #: Keys that have changed and are not read again yet.
        self._changed: dict[bytes, None] = {}
        self._reading: Deferred[None] | None = None

    def follow(self, key: bytes, command: Sequence[Argument], told: Told) -> None:
        """Ask this after every load and every change of the key."""
        self._followed[key] = (command, told)

    async def load(self) -> None:
        """Read everything. Fails with :class:`StoreAway`."""
        self._contents.begin_load()
        try:
            for pattern in _SCAN_PATTERNS:
                await self._scan(pattern)
            for key in self._followed:
                await self._tell(key)
        except BaseException:
            self._contents.abandon_load()
            raise
        self._contents.end_load()

    def changed(self, key: bytes) -> None:
        """Read this key again, soon. However often it changes it waits once."""
        self._changed[key] = None
        if self._reading is None:
            self._reading = Deferred.fromCoroutine(self._read_changed())
            self._reading.addErrback(self._failed)
            if self._reading.called:
                self._reading = None

    def stop(self) -> None:
        """Read nothing more."""
        self._changed.clear()
        if self._reading is not None:
            self._reading.cancel()

    async def _scan(self, pattern: str) -> None:
        cursor = b"0"
        while True:
            cursor, keys = await self._link.ask(
                "SCAN", cursor, "MATCH", pattern, "COUNT", _KEYS_AT_ONCE
            )
            keys = [key for key in keys if _is_ours(key)]
            if keys:
                answers = await self._link.ask_all([("HGETALL", key) for key in keys])
                self._contents.enter(list(zip(keys, answers, strict=True)))
            if cursor == b"0":
                return

    async def _read_changed(self) -> None:
        try:
            while self._changed:
                keys = list(islice(self._changed, _KEYS_AT_ONCE))
                for key in keys:
                    del self._changed[key]
                await self._read(keys)
        except StoreAway:
            self._changed.clear()
            if self._link.connected:
                self._missed()
        finally:
            self._reading = None

    async def _read(self, keys: Sequence[bytes]) -> None:
        for key in self._followed.keys() & set(keys):
            await self._tell(key)
        values = [key for key in keys if key not in self._followed]
        answers = await self._link.ask_all([("HGETALL", key) for key in values])
        self._contents.enter(list(zip(values, answers, strict=True)))

    async def _tell(self, key: bytes) -> None:
        command, told = self._followed[key]
        [answer] = await self._link.ask_all([command])
        try:
            told(answer)
        except Exception:
            _log.failure("bug: the follower of a key failed")

    def _failed(self, failure: Any) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure("bug: changed keys could not be read", failure)


def _is_ours(key: bytes) -> bool:
    try:
        return name_of(key) is not None
    except Malformed:
        return True
