# SPDX-License-Identifier: Apache-2.0

"""
The configuration values that a node knows from Redis, and the rules by which they change.

One connection carries everything that is read or written, and its answers are entered here in their
order. So all known values are values of one moment, and a newer value is never replaced by an older
one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

from twisted.logger import Logger

from logplex.configuration.redis.keys import Malformed, Name, key_of, name_of, pairs, value_of
from logplex.interfaces import IConfigListener
from logplex.model.values import Change, Channel, Delete, Drain, Kind, Put, Token, Value
from logplex.redis.connection import Refused

_log = Logger()

#: The ways in which Redis loses values that no client deleted.
EMPTIED = "was emptied"
EVICTED = "has evicted keys of the configuration"

#: The number of malformed keys that are remembered, so that each is logged once.
_MALFORMED_KEYS = 10_000


class Contents:
    """
    The configuration values that this node knows, and the progress of a load.

    :ivar emptied: the number of known values that Redis has lost, because it was emptied or has
        evicted them; 0 if no value is lost.
    :ivar loss: the cause of the loss: the rest of a sentence that begins with "Redis".
    """

    def __init__(self) -> None:
        self.listener: IConfigListener | None = None
        self.emptied = 0
        self.loss = EMPTIED
        self._loaded = False
        self._known: dict[Kind, dict[str | int, Value]] = {}
        #: The ids that the load under way has found, or that were put since it began.
        self._seen: dict[Kind, set[str | int]] | None = None
        self._malformed: set[bytes] = set()

    @property
    def malformed(self) -> int:
        """Return the number of malformed keys that were read so far, up to a limit."""
        return len(self._malformed)

    def highest(self, counter: str) -> int:
        """Return the highest known id that this counter has given; 0 if there is none."""
        if counter == "drain_index":
            return max((int(each) for each in self._known.get(Drain, ())), default=0)
        channels = (str(each) for each in self._known.get(Channel, ()))
        return max((int(each) for each in channels if each.isdecimal()), default=0)

    def some_keys(self) -> list[str]:
        """Return a few Redis keys of each kind of known values. Redis should hold all of them."""
        return [key_of((kind, id)) for kind, of in self._known.items() for id in islice(of, 5)]

    def deleted_by(self, changes: Sequence[Change]) -> list[Value]:
        """Return the known values that these changes delete."""
        deletions = (change for change in changes if isinstance(change, Delete))
        known = (self._known.get(change.kind, {}).get(change.id) for change in deletions)
        return [value for value in known if value is not None]

    def whole(
        self, changes: Sequence[Change], deleted: Sequence[Value], channel_id: str | None
    ) -> list[Change]:
        """
        Return the changes that write everything known of a channel to a Redis that was emptied,
        followed by the given changes.

        :param deleted: the values that the given changes delete. They are written first, because
            Redis tells other nodes of a deletion only if the key existed.
        """
        return [*map(Put, (*self._belonging_to(channel_id), *deleted)), *changes]

    def _belonging_to(self, channel_id: str | None) -> Iterator[Value]:
        for of in self._known.values():
            for value in of.values():
                if isinstance(value, Channel):
                    if value.id == channel_id:
                        yield value
                elif isinstance(value, (Token, Drain)) and value.channel_id == channel_id:
                    yield value

    def was_emptied(self) -> None:
        """
        Mark all known values as lost, because Redis was emptied. The next load finds out which
        values are really lost.
        """
        self._lost(sum(map(len, self._known.values())), EMPTIED)

    def evicted(self, key: bytes) -> None:
        """
        Mark the value of a key as lost, because Redis has evicted the key. The value does not count
        as deleted.
        """
        try:
            name = name_of(key)
        except Malformed:
            return
        if name is not None and name[1] in self._known.get(name[0], {}):
            self._lost(self.emptied + 1, EVICTED)

    def begin_load(self) -> None:
        """
        Begin a load of all values that Redis holds. The values entered until :meth:`end_load`
        belong to the load.
        """
        self._seen = {}

    def enter(self, read: Sequence[tuple[bytes, object]]) -> None:
        """
        Store the values that were read from Redis. A key without a value counts as deleted.

        :param read: each key that was read, with the answer to its ``HGETALL``.
        """
        changes: list[Change] = []
        for key, answer in read:
            name, value = self._understood(key, answer)
            if name is None:
                continue
            kind, id = name
            known = self._known.get(kind, {}).get(id)
            if value is None:
                if known is not None:
                    changes.append(Delete(kind, id))
            elif value != known:
                changes.append(Put(value))
            elif self._seen is not None:
                self._seen.setdefault(kind, set()).add(id)
        self.apply(changes)

    def apply(self, changes: Sequence[Change]) -> None:
        """Change the known values, and tell the listener. Redis has already made these changes."""
        for change in changes:
            if isinstance(change, Put):
                kind, id = type(change.value), change.value.id
                self._known.setdefault(kind, {})[id] = change.value
                if self._seen is not None:
                    self._seen.setdefault(kind, set()).add(id)
            else:
                self._known.get(change.kind, {}).pop(change.id, None)
        if self._loaded and self.listener is not None and changes:
            self.listener.changed(changes)

    def end_load(self, emptied: bool = False, evicted: bool = False) -> None:
        """
        End a load: delete each known value that the load has not found.

        If Redis has lost values, a missing value counts as lost and not as deleted, until Redis
        holds all values again.

        :param emptied: true if Redis was emptied since the last load, even if values were written
            since.
        :param evicted: true if Redis has evicted keys since the last load.
        """
        seen, self._seen = self._seen or {}, None
        missing = [
            Delete(kind, id)
            for kind, of in self._known.items()
            for id in of.keys() - seen.get(kind, set())
        ]
        if missing and (emptied or evicted or self.emptied or not any(seen.values())):
            was_lost = self.loss if self.emptied else EMPTIED
            self._lost(len(missing), EVICTED if evicted and not emptied else was_lost)
            return
        if self.emptied:
            _log.info("Redis holds the configuration again")
        self.emptied = 0
        self.apply(missing)
        if not self._loaded:
            self._loaded = True
            if self.listener is not None:
                self.listener.loaded(
                    [value for of in self._known.values() for value in of.values()]
                )

    def abandon_load(self) -> None:
        """End a load that has failed. The known values do not change."""
        self._seen = None

    def _lost(self, missing: int, loss: str) -> None:
        if missing and not self.emptied:
            _log.error(
                "Redis {loss}; {count} values that this node knows and that are not in it stay in"
                " force",
                loss=loss,
                count=missing,
            )
        self.emptied, self.loss = missing, loss

    def _understood(self, key: bytes, answer: object) -> tuple[Name | None, Value | None]:
        """
        Return the name and the value that a key and its answer mean. Each is ``None`` if it is
        missing or malformed.
        """
        name = None
        try:
            name = name_of(key)
            if isinstance(answer, Refused):
                raise Malformed(str(answer))
            if name is None or not answer:
                return name, None
            assert isinstance(answer, list)
            return name, value_of(name, pairs(answer))
        except Malformed as why:
            self._complain(key, str(why))
            return name, None

    def _complain(self, key: bytes, why: str) -> None:
        if key in self._malformed or len(self._malformed) >= _MALFORMED_KEYS:
            return
        self._malformed.add(key)
        shown = key.decode("ascii", "replace")[:10]
        _log.warn("a malformed key is skipped: {key}… ({why})", key=shown, why=why)
