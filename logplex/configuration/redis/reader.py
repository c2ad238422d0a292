"""
Read the configuration Redis: everything, or the keys that have changed.
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
#: The number of keys that one ``SCAN`` looks at, and that are read in one go.
_KEYS_AT_ONCE = 500
#: One of these patterns matches each key of a value.
_SCAN_PATTERNS = ("*:data", "cred:*")


@frozen
class Followed:
    """
    Keys beside the values of the configuration that a part of the node follows.

    :ivar commands: the commands that read them, given in one go.
    :ivar told: called with the answers; the answer to a refused command is its ``Refused``.
    """

    keys: frozenset[bytes]
    commands: Sequence[Sequence[Argument]]
    told: Callable[[list[Any]], None]

    def tell(self, answers: list[Any]) -> None:
        """Call :attr:`told`. Never raises."""
        try:
            self.told(answers)
        except Exception:
            _log.failure("bug: the follower of some keys failed")


class Mark:
    """The mark as this node saw it when it had last read everything."""

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._seen: bytes | None = None

    async def gone(self) -> bool:
        """
        Return true if Redis does not hold the seen mark any more. Fails with
        :class:`StoreAway`, or with ``Refused`` if the node may not read it.
        """
        return self._seen is not None and self.is_gone(await self._link.ask(*READ_MARK))

    def is_gone(self, answer: Any) -> bool:
        """
        Return the same, given the answer to :data:`READ_MARK`. A mark that the node may not read
        counts as present.
        """
        refused = isinstance(answer, Refused)
        return not refused and self._seen is not None and answer != self._seen

    async def leave(self) -> None:
        """Write a mark if there is none, and remember it. Call it when Redis holds everything."""
        try:
            await self._link.ask("SET", MARK_KEY, uuid4().hex, "NX")
            self._seen = await self._link.ask(*READ_MARK)
        except StoreAway:
            # The mark that was seen before is still good.
            pass
        except Refused:
            # The node may not use this key, so only the values can tell.
            self._seen = None


class ConfigurationReader:
    """
    Reads Redis, and enters what it holds into the contents.

    :param missed: called if changed keys could not be read although Redis is there.
    :ivar mark: tells if Redis was emptied since everything was read.
    """

    def __init__(self, link: RedisLink, contents: Contents, missed: Callable[[], None]) -> None:
        self._link = link
        self._contents = contents
        self.mark = Mark(link)
        self._missed = missed
        self._followed: list[Followed] = []
        #: Keys that have changed and have not been read again.
        self._changed: dict[bytes, None] = {}
        self._reading: Deferred[None] | None = None

    def follow(self, followed: Followed) -> None:
        """Read these keys after every load, and after every change of one of them."""
        self._followed.append(followed)

    async def load(self) -> None:
        """
        Read everything. Fails with :class:`StoreAway`, or with ``Refused`` if the node may not
        read it.
        """
        self._contents.begin_load()
        try:
            for pattern in _SCAN_PATTERNS:
                await self._scan(pattern)
            answers = [await self._link.ask_all(each.commands) for each in self._followed]
            # Last, because Redis may have been emptied meanwhile.
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
        Return true if Redis was emptied since the last load without an event, as by
        ``FLUSHALL``. Fails with :class:`StoreAway`.
        """
        if await self.mark.gone():
            return True
        keys = self._contents.some_keys()
        return bool(keys) and not await self._link.ask("EXISTS", *keys)

    def changed(self, key: bytes) -> None:
        """Read this key again soon. A key that changes often is queued once."""
        self._changed[key] = None
        if self._reading is None:
            self._reading = Deferred.fromCoroutine(self._read_changed())
            self._reading.addErrback(self._failed)
            if self._reading.called:
                self._reading = None

    def stop(self) -> None:
        """Stop reading."""
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
                # A key that is gone by now is missing at the end of the load, which finds out why.
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
        Return what these keys hold; it may be something else than a hash. Fails with ``Refused``
        if the node may not read them: then nothing is taken for deleted.
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
