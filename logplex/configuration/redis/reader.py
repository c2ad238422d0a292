"""
Reading the configuration Redis: everything, or the keys that have changed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import islice
from typing import Any
from uuid import uuid4

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import Logger

from logplex.configuration.redis.contents import Contents
from logplex.configuration.redis.keys import Malformed, name_of
from logplex.interfaces import StoreAway
from logplex.redis.connection import Argument, Refused
from logplex.redis.link import RedisLink

_log = Logger()

#: A mark in Redis by which a node sees that it was emptied. The values cannot tell: a value that is
#: written right after ``FLUSHALL``, or after a restart that lost everything, makes the others look
#: deleted. It holds what the first node put there, the same for all nodes, until Redis loses it.
MARK_KEY = "logplex:filled"
#: The command whose answer :meth:`Mark.is_gone` takes.
READ_MARK = ("GET", MARK_KEY)
#: Keys that one ``SCAN`` looks at, and that are read in one go.
_KEYS_AT_ONCE = 500
#: Every key of a value is matched by one of them.
_SCAN_PATTERNS = ("*:data", "cred:*")


@frozen
class Followed:
    """
    Keys that are no values of the configuration, but that somebody must know.

    :ivar commands: what to ask about them, in one go.
    :ivar told: gets the answers; ``Refused`` where Redis refuses.
    """

    keys: frozenset[bytes]
    commands: Sequence[Sequence[Argument]]
    told: Callable[[list[Any]], None]

    def tell(self, answers: list[Any]) -> None:
        """Tell the answers, whatever becomes of it."""
        try:
            self.told(answers)
        except Exception:
            _log.failure("bug: the follower of some keys failed")


class Mark:
    """The mark, as this node saw it last when it had read everything."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._seen: bytes | None = None

    async def gone(self) -> bool:
        """
        Whether Redis does not hold the mark any more that was seen. Fails with
        :class:`StoreAway`, or ``Refused`` where it is not let read.
        """
        return self._seen is not None and self.is_gone(await self._link.ask(*READ_MARK))

    def is_gone(self, answer: Any) -> bool:
        """The same, from the answer to :data:`READ_MARK`. One that is not let read is there."""
        refused = isinstance(answer, Refused)
        return not refused and self._seen is not None and answer != self._seen

    async def leave(self) -> None:
        """Redis holds everything: see to it that there is a mark, and remember it."""
        try:
            await self._link.ask("SET", MARK_KEY, uuid4().hex, "NX")
            self._seen = await self._link.ask(*READ_MARK)
        except StoreAway:
            # What was seen before still tells whether it is the same.
            pass
        except Refused:
            # A Redis that lets us keep no such key is watched by its values alone.
            self._seen = None


class ConfigurationReader:
    """
    Enters what Redis holds into the contents.

    :param missed: called where changed keys could not be read although Redis is there.
    :ivar mark: tells whether Redis was emptied since everything was read.
    """

    def __init__(self, link: RedisLink, contents: Contents, missed: Callable[[], None]) -> None:
        self._link = link
        self._contents = contents
        self.mark = Mark(link)
        self._missed = missed
        self._followed: list[Followed] = []
        #: Keys that have changed and are not read again yet.
        self._changed: dict[bytes, None] = {}
        self._reading: Deferred[None] | None = None

    def follow(self, followed: Followed) -> None:
        """Ask about these keys after every load and every change of one of them."""
        self._followed.append(followed)

    async def load(self) -> None:
        """
        Read everything. Fails with :class:`StoreAway`, or ``Refused`` where it
        may not be read.
        """
        self._contents.begin_load()
        try:
            for pattern in _SCAN_PATTERNS:
                await self._scan(pattern)
            answers = [await self._link.ask_all(each.commands) for each in self._followed]
            # Last: it may have been emptied while it was read.
            emptied = await self.mark.gone()
        except BaseException:
            self._contents.abandon_load()
            raise
        self._contents.end_load(emptied)
        if not self._contents.emptied:
            await self.mark.leave()
            for followed, answer in zip(self._followed, answers, strict=True):
                followed.tell(answer)

    async def lost_everything(self) -> bool:
        """
        Whether Redis was emptied since the last load in a way that tells nobody, such as
        ``FLUSHALL``. Fails with :class:`StoreAway`.
        """
        if await self.mark.gone():
            return True
        keys = self._contents.some_keys()
        return bool(keys) and not await self._link.ask("EXISTS", *keys)

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
                # One that is gone again is missing at the end of the load, which knows why.
                self._contents.enter([each for each in await self._held(keys) if each[1]])
            if cursor == b"0":
                return

    async def _read_changed(self) -> None:
        try:
            while self._changed:
                keys = list(islice(self._changed, _KEYS_AT_ONCE))
                for key in keys:
                    del self._changed[key]
                await self._read(keys)
        except (StoreAway, Refused):
            self._changed.clear()
            if self._link.connected:
                self._missed()
        finally:
            self._reading = None

    async def _read(self, keys: Sequence[bytes]) -> None:
        for followed in self._followed:
            if not followed.keys.isdisjoint(keys):
                followed.tell(await self._link.ask_all(followed.commands))
        self._contents.enter(await self._held([key for key in keys if _is_ours(key)]))

    async def _held(self, keys: Sequence[bytes]) -> list[tuple[bytes, Any]]:
        """
        What these keys hold, which may be no hash. Fails with ``Refused`` where
        they may not be read: then nobody knows what they hold, and nothing was deleted.
        """
        answers = await self._link.ask_all([("HGETALL", key) for key in keys])
        for answer in answers:
            if isinstance(answer, Refused) and answer.code != "WRONGTYPE":
                raise answer
        return list(zip(keys, answers, strict=True))

    def _failed(self, failure: Any) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure("bug: changed keys could not be read", failure)


def _is_ours(key: bytes) -> bool:
    try:
        return name_of(key) is not None
    except Malformed:
        return True
