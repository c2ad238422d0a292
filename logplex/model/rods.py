"""
Control rods: the operator's switches on a running node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, cast

import attrs
from attrs import define, field

NORMAL = "normal"
READ_ONLY = "read_only"
DISABLED = "disabled"
STATUSES = (NORMAL, READ_ONLY, DISABLED)

#: The position of a rod: true or false for a switch, a status for an API.
Position = bool | str


def _check_status(_: object, __: object, value: str) -> None:
    if value not in STATUSES:
        raise ValueError(f'must be one of {", ".join(STATUSES)}, not "{value}"')


@define
class Rods:
    """
    The positions of the switches: ``[rods]`` of the settings, and on a running node the present
    ones. The code that a rod governs reads it each time.
    """

    deny_redis_buffers: bool = False
    deny_tail_sessions: bool = False
    deny_drain_forwarding: bool = False
    deny_logs_ingress: bool = False
    disable_firehose: bool = False
    api_status: str = field(default=NORMAL, validator=_check_status)
    legacy_api_status: str = field(default=NORMAL, validator=_check_status)

    def positions(self) -> dict[str, Position]:
        """Return the name and the position of every rod."""
        return attrs.asdict(self)

    def take(self, positions: Rods) -> None:
        """Stand as these do."""
        self.deny_redis_buffers = positions.deny_redis_buffers
        self.deny_tail_sessions = positions.deny_tail_sessions
        self.deny_drain_forwarding = positions.deny_drain_forwarding
        self.deny_logs_ingress = positions.deny_logs_ingress
        self.disable_firehose = positions.disable_firehose
        self.api_status = positions.api_status
        self.legacy_api_status = positions.legacy_api_status


_IS_SWITCH = {name: isinstance(position, bool) for name, position in Rods().positions().items()}


class BadPosition(ValueError):
    """There is no such rod, or it has no such position; the text gives people the reason."""


def check_position(name: str, position: object) -> Position:
    """
    Return the position if the rod has it.

    :raise BadPosition: it has not, or there is no such rod.
    """
    if name not in _IS_SWITCH:
        raise BadPosition(f"there is no control rod {name!r}; there are {', '.join(_IS_SWITCH)}")
    if _IS_SWITCH[name]:
        if isinstance(position, bool):
            return position
        raise BadPosition(f"{name!r} must be true or false")
    if isinstance(position, str) and position in STATUSES:
        return position
    raise BadPosition(f"{name!r} must be one of {', '.join(STATUSES)}")


@define(eq=False, repr=False)
class Panel:
    """
    The place where rods are thrown (PROTOCOL §11). A rod that was thrown on this node wins over
    one that was thrown for the cluster, and that over the settings.

    :ivar rods: the present positions; changed in place.
    :ivar thrown: the rods thrown on this node since its start.
    :ivar shared: the rods thrown for all nodes.
    """

    rods: Rods
    thrown: dict[str, Position] = field(factory=dict, init=False)
    shared: dict[str, Position] = field(factory=dict, init=False)
    _configured: dict[str, Position] = field(init=False)
    _observers: list[Callable[[], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._configured = self.rods.positions()

    def observe(self, observer: Callable[[], None]) -> None:
        """Call the observer whenever a rod may have moved."""
        self._observers.append(observer)

    def configure(self, positions: Mapping[str, Position]) -> None:
        """Take the positions of the settings, which have been read again."""
        self._configured.update(positions)
        self._apply()

    def throw(self, positions: Mapping[str, Position | None]) -> None:
        """
        Throw rods on this node.

        :param positions: checked; ``None`` undoes an earlier throw.
        """
        self.thrown = _merged(self.thrown, positions)
        self._apply()

    def share(self, positions: Mapping[str, Position]) -> None:
        """Take the positions that are thrown for all nodes, in place of the earlier ones."""
        self.shared = dict(positions)
        self._apply()

    def _apply(self) -> None:
        self.rods.take(Rods(**cast(Any, {**self._configured, **self.shared, **self.thrown})))
        for observer in self._observers:
            observer()


def _merged(old: Mapping[str, Position], new: Mapping[str, Position | None]) -> dict[str, Position]:
    merged = {**old, **new}
    return {name: position for name, position in merged.items() if position is not None}
