# SPDX-License-Identifier: Apache-2.0

"""
Control rods: the switches with which an operator controls running nodes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import attrs
from attrs import define, field, frozen

from logplex.live import Live

NORMAL = "normal"
READ_ONLY = "read_only"
DISABLED = "disabled"
STATUSES = (NORMAL, READ_ONLY, DISABLED)

#: The position of a rod: a switch is on or off, an API has a status.
Position = bool | str


def _check_status(_: object, __: object, value: str) -> None:
    if value not in STATUSES:
        raise ValueError(f'must be one of {", ".join(STATUSES)}, not "{value}"')


@frozen
class Rods:
    """
    The position of every control rod: from the section ``[rods]`` of the settings, or on a running
    node.

    A running node keeps the positions in a :class:`~logplex.live.Live` value.
    """

    deny_redis_buffers: bool = False
    deny_tail_sessions: bool = False
    deny_drain_forwarding: bool = False
    deny_logs_ingress: bool = False
    disable_firehose: bool = False
    api_status: str = field(default=NORMAL, validator=_check_status)
    legacy_api_status: str = field(default=NORMAL, validator=_check_status)

    def positions(self) -> dict[str, Position]:
        """Return the position of every control rod, by the rod's name."""
        return attrs.asdict(self)


_IS_SWITCH = {name: isinstance(position, bool) for name, position in Rods().positions().items()}


class BadPosition(ValueError):
    """
    The control rod does not exist, or cannot have this position. The text of the error is for
    people.
    """


def check_position(name: str, position: object) -> Position:
    """
    Return the position if the control rod can have this position.

    :raise BadPosition: the rod does not exist, or cannot have this position.
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
    The control rods of a node, and the methods that change their positions (PROTOCOL §11).

    A position that an operator set on this node overrides a position for the cluster. A position
    for the cluster overrides the settings.

    :ivar rods: the positions that apply now.
    :ivar thrown: the positions that an operator has set on this node since its start.
    :ivar shared: the positions that an operator has set for all nodes.
    """

    rods: Live[Rods]
    thrown: dict[str, Position] = field(factory=dict, init=False)
    shared: dict[str, Position] = field(factory=dict, init=False)
    _configured: Rods = field(init=False)
    _observers: list[Callable[[], None]] = field(factory=list, init=False)

    def __attrs_post_init__(self) -> None:
        self._configured = self.rods.now

    def observe(self, observer: Callable[[], None]) -> None:
        """Call a function each time the position of a control rod may have changed."""
        self._observers.append(observer)

    def configure(self, rods: Rods) -> None:
        """Use the positions of new settings, unless an operator has set other positions."""
        self._configured = rods
        self._apply()

    def throw(self, positions: Mapping[str, Position | None]) -> None:
        """
        Set the positions of control rods on this node.

        :param positions: valid positions, by the rod's name; ``None`` withdraws the position that
            was set on this node.
        """
        self.thrown = _merged(self.thrown, positions)
        self._apply()

    def share(self, positions: Mapping[str, Position]) -> None:
        """
        Use the positions that an operator has set for all nodes.

        :param positions: the positions of all such control rods, by the rod's name.
        """
        self.shared = dict(positions)
        self._apply()

    def _apply(self) -> None:
        thrown: dict[str, Any] = {**self.shared, **self.thrown}
        self.rods.now = attrs.evolve(self._configured, **thrown)
        for observer in self._observers:
            observer()


def _merged(old: Mapping[str, Position], new: Mapping[str, Position | None]) -> dict[str, Position]:
    merged = {**old, **new}
    return {name: position for name, position in merged.items() if position is not None}
