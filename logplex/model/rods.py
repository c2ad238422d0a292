"""
Control rods: the operator's switches on a running node.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import attrs
from attrs import define, field

NORMAL = "normal"
READ_ONLY = "read_only"
DISABLED = "disabled"
STATUSES = (NORMAL, READ_ONLY, DISABLED)

#: How a rod can stand: a switch is on or off, an API has a status.
Position = bool | str


def _check_status(_: object, __: object, value: str) -> None:
    if value not in STATUSES:
        raise ValueError(f'must be one of {", ".join(STATUSES)}, not "{value}"')


@define
class Rods:
    """
    How the switches stand: ``[rods]`` of the configuration, and on a running node now. Whoever is
    governed by one reads it each time.
    """

    deny_redis_buffers: bool = False
    deny_tail_sessions: bool = False
    deny_drain_forwarding: bool = False
    deny_logs_ingress: bool = False
    disable_firehose: bool = False
    api_status: str = field(default=NORMAL, validator=_check_status)
    legacy_api_status: str = field(default=NORMAL, validator=_check_status)

    def positions(self) -> dict[str, Position]:
        """Every rod's name, and how it stands."""
        return attrs.asdict(self)


_IS_SWITCH = {name: isinstance(position, bool) for name, position in Rods().positions().items()}


class BadPosition(ValueError):
    """There is no such rod, or it cannot stand so; the text says why, for people."""


def check_position(name: str, position: object) -> Position:
    """
    The position, if the rod can stand so.

    :raise BadPosition: it cannot, or there is no such rod.
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
    Where the rods are thrown (PROTOCOL §11). What was thrown on this node wins over what was
    thrown for the cluster, that over the configuration.

    :ivar rods: how they stand; changed in place.
    :ivar thrown: on this node, since its start.
    :ivar shared: thrown for all nodes, until it is thrown back.
    """

    rods: Rods
    thrown: dict[str, Position] = field(factory=dict, init=False)
    shared: dict[str, Position] = field(factory=dict, init=False)
    _configured: dict[str, Position] = field(init=False)
    _observers: list[Callable[[], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._configured = self.rods.positions()

    def observe(self, observer: Callable[[], None]) -> None:
        """Call this whenever a rod may stand otherwise."""
        self._observers.append(observer)

    def configure(self, positions: Mapping[str, Position]) -> None:
        """The configuration has been read again."""
        self._configured.update(positions)
        self._apply()

    def throw(self, positions: Mapping[str, Position | None]) -> None:
        """
        Throw these on this node.

        :param positions: checked; ``None`` is as if it had never been thrown.
        """
        self.thrown = _merged(self.thrown, positions)
        self._apply()

    def share(self, positions: Mapping[str, Position]) -> None:
        """These, and no others, are thrown for all nodes."""
        self.shared = dict(positions)
        self._apply()

    def _apply(self) -> None:
        for name, position in {**self._configured, **self.shared, **self.thrown}.items():
            setattr(self.rods, name, position)
        for observer in self._observers:
            observer()


def _merged(old: Mapping[str, Position], new: Mapping[str, Position | None]) -> dict[str, Position]:
    merged = {**old, **new}
    return {name: position for name, position in merged.items() if position is not None}
