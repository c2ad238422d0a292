"""
What a node knows of the configuration Redis, and how it follows from what was read there.

Everything that is read or written goes over one connection and is entered here in the order of
the answers, so what is known is always what Redis held at one moment, and never goes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice

import txredisapi
from twisted.logger import Logger

from logplex.interfaces import IConfigListener
from logplex.model import Change, Channel, Delete, Drain, Put, Value
from logplex.store.redis_keys import Kind, Malformed, Name, key_of, name_of, pairs, value_of

_log = Logger()

#: Malformed keys that are remembered, so that each is logged once.
_MALFORMED_KEYS = 10_000


class Contents:
    """
    The known values' ids, and a load that is under way.

    :ivar emptied: how many known values the last load of an emptied Redis did not find; 0 where
        Redis holds all of them.
    """

    def __init__(self) -> None:
        self.listener: IConfigListener | None = None
        self.emptied = 0
        self._known: dict[Kind, set[str | int]] = {}
        #: What the load under way has found, and what has changed since it began; ``None`` for
        #: what was deleted.
        self._loading: dict[Name, Value | None] | None = None
        self._malformed: set[bytes] = set()

    @property
    def malformed(self) -> int:
        """Keys that could not be understood so far, up to a bound."""
        return len(self._malformed)

    def highest(self, counter: str) -> int:
        """The highest id in use of those that a counter gives, or 0."""
        if counter == "drain_index":
            return max((int(each) for each in self._known.get(Drain, ())), default=0)
        channels = (str(each) for each in self._known.get(Channel, ()))
        return max((int(each) for each in channels if each.isdecimal()), default=0)

    def some_keys(self) -> list[str]:
        """A few keys that Redis should hold, of every kind."""
        return [key_of((kind, id)) for kind, ids in self._known.items() for id in islice(ids, 5)]

    def understood(self, key: bytes, answer: object) -> tuple[Name, Value | None] | None:
        """
        What a key and the answer to its ``HGETALL`` mean: a value, its absence, or nothing.
        """
        name = None
        try:
            name = name_of(key)
            if name is None:
                return None
            if isinstance(answer, txredisapi.ResponseError):
                raise Malformed(str(answer))
            assert isinstance(answer, list)
            return name, value_of(name, pairs(answer)) if answer else None
        except Malformed as why:
            self._complain(key, str(why))
            return (name, None) if name else None

    def begin_load(self) -> None:
        """What is found from now on is all that there is."""
        self._loading = {}

    def found(self, name: Name, value: Value | None) -> None:
        """The load under way has read this."""
        assert self._loading is not None
        self._loading[name] = value

    def end_load(self) -> None:
        """
        Tell the listener what differs.

        Where Redis was emptied, and until it holds everything again, nothing is taken for
        deleted.
        """
        found, self._loading = self._loading or {}, None
        values = [value for value in found.values() if value is not None]
        if self.emptied or not values:
            missing = sum(1 for name in self._names() if found.get(name) is None)
            if missing:
                self._keep_what_is_missing(missing)
                self._tell([Put(value) for value in values])
                return
        if self.emptied:
            _log.info("Redis holds the configuration again")
        self.emptied = 0
        self._known = {}
        for value in values:
            self._known.setdefault(type(value), set()).add(value.id)
        if self.listener is not None:
            self.listener.loaded(values)

    def abandon_load(self) -> None:
        """It could not be finished; what is known stays."""
        self._loading = None

    def apply(self, changes: Sequence[Change]) -> None:
        """These changes took effect, in this order."""
        if self._loading is not None:
            for change in changes:
                if isinstance(change, Put):
                    self._loading[type(change.value), change.value.id] = change.value
                else:
                    self._loading[change.kind, change.id] = None
        self._tell(changes)

    def _keep_what_is_missing(self, missing: int) -> None:
        if not self.emptied:
            _log.error(
                "Redis holds nothing of the configuration; {count} values that this node knows"
                " stay in force",
                count=missing,
            )
        self.emptied = missing

    def _tell(self, changes: Sequence[Change]) -> None:
        for change in changes:
            if isinstance(change, Put):
                self._known.setdefault(type(change.value), set()).add(change.value.id)
            else:
                self._known.get(change.kind, set()).discard(change.id)
        if self.listener is not None and changes:
            self.listener.changed(changes)

    def _names(self) -> Iterator[Name]:
        for kind, ids in self._known.items():
            for id in ids:
                yield kind, id

    def _complain(self, key: bytes, why: str) -> None:
        if key in self._malformed or len(self._malformed) >= _MALFORMED_KEYS:
            return
        self._malformed.add(key)
        shown = key.decode("ascii", "replace")[:10]
        _log.warn("a malformed key is skipped: {key}… ({why})", key=shown, why=why)


def changes_of(read: Sequence[tuple[Name, Value | None]]) -> list[Change]:
    """What was read of single keys, as changes."""
    changes: list[Change] = []
    for (kind, id), value in read:
        changes.append(Delete(kind, id) if value is None else Put(value))
    return changes
