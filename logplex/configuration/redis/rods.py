# SPDX-License-Identifier: Apache-2.0

"""
The control rods that one node throws for all nodes of a cluster.

A Redis hash of Logplex keeps the positions of these rods. The status of the legacy API is also kept
in a bit that Erlang nodes read and write (PROTOCOL §10). The node obeys the last change of the hash
or the bit.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from zope.interface import implementer

from logplex.configuration.redis.keys import pairs
from logplex.configuration.redis.reader import Followed
from logplex.interfaces import IShareRods, RodsTold
from logplex.model.rods import NORMAL, READ_ONLY, BadPosition, Position, check_position
from logplex.redis.connection import Argument, Refused

_log = Logger()

_RODS_KEY = "logplex:rods"
_ERLANG_KEY = "control_rod"
_ERLANG_ROD = "legacy_api_status"
_SWITCHES = {b"0": False, b"1": True}


@implementer(IShareRods)
class SharedRods:
    """
    The control rods that are thrown for all nodes of a cluster; see :class:`IShareRods`.

    :param transact: sends commands to Redis that take effect together.
    :param told: called with all rods that are thrown for the cluster, when the store has been
        loaded, and each time one of the rods may have changed.
    :ivar followed: the Redis keys of the rods, and the commands that read these keys after each
        change.
    """

    def __init__(
        self,
        transact: Callable[[Sequence[Sequence[Argument]]], Deferred[Any]],
        told: RodsTold,
    ) -> None:
        self._transact = transact
        self._told = told
        self._refused = ""
        self._shared: dict[str, Position] = {}
        self.followed = Followed(
            frozenset({_RODS_KEY.encode(), _ERLANG_KEY.encode()}),
            (("HGETALL", _RODS_KEY), ("GETBIT", _ERLANG_KEY, 0)),
            self._read,
        )

    def throw(self, positions: Mapping[str, Position | None]) -> Deferred[None]:
        """See :class:`IShareRods`."""
        return Deferred.fromCoroutine(self._throw(positions))

    async def _throw(self, positions: Mapping[str, Position | None]) -> None:
        commands = [each for rod in positions.items() for each in _commands_of(*rod)]
        await self._transact(commands)
        merged = {**self._shared, **positions}
        self._tell({name: each for name, each in merged.items() if each is not None})

    def _read(self, answers: list[Any]) -> None:
        hash, bit = answers
        if isinstance(hash, Refused) or isinstance(bit, Refused):
            self._refuse(f"{_RODS_KEY} or {_ERLANG_KEY} holds something else")
            return
        shared = self._understood(pairs(hash))
        legacy = shared.get(_ERLANG_ROD, NORMAL)
        if bit and legacy == NORMAL:
            shared[_ERLANG_ROD] = READ_ONLY
        elif not bit and legacy != NORMAL:
            # The node that threw the rod has set the bit too; an Erlang node has cleared it since.
            shared[_ERLANG_ROD] = NORMAL
        self._tell(shared)

    def _understood(self, fields: Mapping[bytes, bytes]) -> dict[str, Position]:
        shared: dict[str, Position] = {}
        for field, value in fields.items():
            name = field.decode(errors="replace")
            position = _SWITCHES.get(value, value.decode(errors="replace"))
            try:
                shared[name] = check_position(name, position)
            except BadPosition as bad:
                self._refuse(f"{_RODS_KEY}: {bad}")
        return shared

    def _tell(self, shared: dict[str, Position]) -> None:
        self._shared = shared
        self._told(shared)

    def _refuse(self, why: str) -> None:
        """
        Log that a value of a rod in Redis is malformed, unless the last log line said the same.
        """
        if self._refused != why:
            self._refused = why
            _log.warn("a control rod of the cluster is not obeyed: {why}", why=why)


def _commands_of(name: str, position: Position | None) -> Iterator[tuple[Argument, ...]]:
    if position is None:
        yield ("HDEL", _RODS_KEY, name)
    else:
        value = int(position) if isinstance(position, bool) else position
        yield ("HMSET", _RODS_KEY, name, value)
    if name == _ERLANG_ROD:
        yield ("SETBIT", _ERLANG_KEY, 0, int(position not in (None, NORMAL)))
