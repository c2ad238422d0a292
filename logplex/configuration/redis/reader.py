# SPDX-License-Identifier: Apache-2.0

"""The reader of the configuration in Redis: it reads all values, or the values of changed keys."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
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

_LOOK_AT_EVICTIONS = (("INFO", "server"), ("INFO", "stats"), ("INFO", "memory"))
_INFO_FIELD = re.compile(rb"^(run_id|evicted_keys|maxmemory|maxmemory_policy):(\w[\w-]*)", re.M)

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
class Evictions:
    """
    The number of keys that a Redis process has evicted.

    :ivar run_id: the id of the Redis process. The number begins at 0 in each process.
    """

    run_id: bytes
    keys: int

    def are_more_than(self, before: Evictions | None) -> bool:
        """
        Return true if Redis has evicted keys since an earlier count. Return false if there is no
        earlier count.
        """
        if before is None:
            return False
        return self.keys > (before.keys if before.run_id == self.run_id else 0)


@frozen
class Followed:
    """
    Other keys of the configuration Redis that a part of the node wants to read.

    :ivar commands: the commands that read the keys, sent together.
    :ivar told: called with the answers to the commands. The answer to a refused command is its
        ``Refused``.
    """

    keys: frozenset[bytes]
    commands: Sequence[Sequence[Argument]]
    told: Callable[[list[Any]], None]

    def tell(self, answers: list[Any]) -> None:
        """Call :attr:`told` with the answers. An error is logged and not raised."""
        try:
            self.told(answers)
        except Exception:
            _log.failure("bug: the follower of some keys failed")


class Mark:
    """
    A key with a random value that this node writes to Redis, in order to notice when Redis loses
    its data.
    """

    def __init__(self, link: RedisLink) -> None:
        self._link = link
        self._seen: bytes | None = None

    async def gone(self) -> bool:
        """
        Return true if Redis has lost its data: the mark that this node knows is missing.

        The result fails with :class:`StoreAway`, or with ``Refused`` if the node may not read the
        mark.
        """
        return self._seen is not None and self.is_gone(await self._link.ask(*READ_MARK))

    def is_gone(self, answer: Any) -> bool:
        """
        Return true if the answer to :data:`READ_MARK` shows that the mark is missing. If Redis has
        refused to read the mark, return false.
        """
        refused = isinstance(answer, Refused)
        return not refused and self._seen is not None and answer != self._seen

    async def leave(self) -> None:
        """
        Write a mark if Redis has none, and remember the mark of Redis. The caller must know that
        Redis holds all values.
        """
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
    The reader that reads Redis, and enters the values into the contents.

    :param missed: called if changed keys could not be read although Redis is connected.
    :ivar mark: the mark in Redis. It is missing if Redis was emptied since the last load.
    :ivar may_evict: the policy by which Redis may evict keys of the configuration; empty if Redis
        may not evict them.
    """

    def __init__(self, link: RedisLink, contents: Contents, missed: Callable[[], None]) -> None:
        self._link = link
        self._contents = contents
        self.mark = Mark(link)
        self._missed = missed
        self._followed: list[Followed] = []
        #: Keys that have changed and have not been read again; true for those known to be gone.
        self._changed: dict[bytes, bool] = {}
        self._reading: Deferred[None] | None = None
        self.may_evict = ""
        #: The evictions that the last load knew of.
        self._evictions: Evictions | None = None
        self._has_evicted = False

    def follow(self, followed: Followed) -> None:
        """Read other keys too: after every load, and each time one of these keys has changed."""
        self._followed.append(followed)

    async def load(self) -> None:
        """
        Read all values from Redis.

        The result fails with :class:`StoreAway`, or with ``Refused`` if the node may not read the
        values.
        """
        self._contents.begin_load()
        try:
            for pattern in _SCAN_PATTERNS:
                await self._scan(pattern)
            answers = [await self._link.ask_all(each.commands) for each in self._followed]
            # Last, because Redis may have been emptied meanwhile, or have evicted keys.
            emptied = await self.mark.gone()
            evictions = await self._look_at_evictions()
        except BaseException:
            self._contents.abandon_load()
            raise
        evicted = evictions is not None and evictions.are_more_than(self._evictions)
        self._evictions = evictions
        self._has_evicted |= evicted
        self._contents.end_load(emptied, evicted)
        if not self._contents.emptied:
            await self.mark.leave()
            # If Redis evicts keys, one that is missing says nothing.
            if not self._has_evicted:
                for followed, answer in zip(self._followed, answers, strict=True):
                    followed.tell(answer)

    async def lost_everything(self) -> bool:
        """
        Return true if Redis has lost values since the last load without an event, for example by
        ``FLUSHALL``.

        The result fails with :class:`StoreAway`.
        """
        if await self.mark.gone() or await self._has_evicted_since():
            return True
        keys = self._contents.some_keys()
        return bool(keys) and not await self._link.ask("EXISTS", *keys)

    def changed(self, key: bytes, gone: bool = False) -> None:
        """
        Read a changed key again soon. A key that has changed several times is read once.

        :param gone: true if an event says that the key was deleted, and so was not evicted.
        """
        self._changed[key] = gone
        if self._reading is None:
            self._reading = Deferred.fromCoroutine(self._read_changed())
            self._reading.addErrback(self._failed)
            if self._reading.called:
                self._reading = None

    def stop(self) -> None:
        """Stop reading Redis."""
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
                await self._read({key: self._changed.pop(key) for key in keys})
        except (StoreAway, Refused):
            self._changed.clear()
            if self._link.connected:
                self._missed()
        finally:
            self._reading = None

    async def _read(self, keys: Mapping[bytes, bool]) -> None:
        for followed in self._followed:
            if not followed.keys.isdisjoint(keys):
                followed.tell(await self._link.ask_all(followed.commands))
        held = await self._held([key for key in keys if _is_ours(key)])
        self._contents.enter([each for each in held if each[1] or keys[each[0]]])
        missing = [key for key, answer in held if not answer and not keys[key]]
        if missing:
            await self._read_again(missing)

    async def _read_again(self, keys: Sequence[bytes]) -> None:
        """
        Read keys that had no value again, and check if Redis has lost data. If Redis has lost data,
        a load finds out which values are lost; else the keys were deleted.
        """
        hashes: list[Sequence[Argument]] = [("HGETALL", key) for key in keys]
        answers = await self._link.ask_all([*hashes, READ_MARK, *_LOOK_AT_EVICTIONS])
        held, (mark, *sections) = answers[: len(keys)], answers[len(keys) :]
        read = _readable(keys, held)
        if self.mark.is_gone(mark) or self._are_more(self._evictions_in(sections)):
            read = [each for each in read if each[1]]
            self._missed()
        self._contents.enter(read)

    async def _has_evicted_since(self) -> bool:
        """Return true if Redis has evicted keys since the last load."""
        return self._are_more(await self._look_at_evictions())

    def _are_more(self, evictions: Evictions | None) -> bool:
        return evictions is not None and evictions.are_more_than(self._evictions)

    async def _look_at_evictions(self) -> Evictions | None:
        """
        Ask Redis for the number of evicted keys, and return it; ``None`` if the node may not see
        the number.
        """
        return self._evictions_in(await self._link.ask_all(_LOOK_AT_EVICTIONS))

    def _evictions_in(self, sections: Sequence[Any]) -> Evictions | None:
        """
        Return the number of evicted keys in the answers to :data:`_LOOK_AT_EVICTIONS`; ``None`` if
        Redis has refused to answer.
        """
        if any(isinstance(section, Refused) for section in sections):
            return None
        fields = dict(_INFO_FIELD.findall(b"\n".join(sections)))
        policy = fields.get(b"maxmemory_policy", b"").decode()
        is_limited = fields.get(b"maxmemory", b"0") != b"0"
        may_evict = policy if is_limited and policy.startswith("allkeys") else ""
        if may_evict and not self.may_evict:
            _log.warn("Redis may evict the configuration: {policy}", policy=may_evict)
        self.may_evict = may_evict
        return Evictions(fields.get(b"run_id", b""), int(fields.get(b"evicted_keys", 0)))

    async def _held(self, keys: Sequence[bytes]) -> list[tuple[bytes, Any]]:
        """
        Return the keys with their contents in Redis. A key may hold something else than a hash.

        The result fails with ``Refused`` if the node may not read a key.
        """
        return _readable(keys, await self._link.ask_all([("HGETALL", key) for key in keys]))

    def _failed(self, failure: Any) -> None:
        if not isinstance(failure.value, CancelledError):
            _log.failure("bug: changed keys could not be read", failure)


def _readable(keys: Sequence[bytes], answers: Sequence[Any]) -> list[tuple[bytes, Any]]:
    """
    Return each key with its answer. Raise ``Refused`` if the node may not read one of the keys.
    """
    for answer in answers:
        if isinstance(answer, Refused) and answer.code != "WRONGTYPE":
            raise answer
    return list(zip(keys, answers, strict=True))


def _is_ours(key: bytes) -> bool:
    try:
        return name_of(key) is not None
    except Malformed:
        return True
