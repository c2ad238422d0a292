"""
How a node is, for ``GET /v3/health``: what is up, what is not, and how much there is of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from logplex import __version__
from logplex.model.rods import Rods
from logplex.routing.registry import Registry

OK = "ok"
TROUBLED = "troubled"


@frozen
class Health:
    """
    Asks every part of the node.

    :param node: its name.
    :param started_at_s: when it started, by the clock.
    :param troubles: what does not work now, a line each, without anything secret.
    :param parts: by name, what each says of itself, as values of JSON.
    """

    node: str
    clock: IReactorTime
    started_at_s: float
    registry: Registry
    rods: Rods
    troubles: Callable[[], list[str]]
    parts: Mapping[str, Callable[[], object]]

    def report(self) -> dict[str, Any]:
        """What the route answers."""
        troubles = self.troubles()
        if not self.registry.ready:
            troubles = ["the configuration has not been loaded yet", *troubles]
        return {
            "status": TROUBLED if troubles else OK,
            "troubles": troubles,
            "node": self.node,
            "version": __version__,
            "uptime_s": round(self.clock.seconds() - self.started_at_s, 3),
            "known": dict(self.registry.counts()),
            "rods": self.rods.positions(),
            **{name: ask() for name, ask in self.parts.items()},
        }
