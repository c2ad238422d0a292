# SPDX-License-Identifier: Apache-2.0

"""
The routes of API v3 for operators: health, control rods, tails and shards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, frozen
from klein import Response
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from logplex import __version__
from logplex.api.json import (
    error_answer,
    json_answer,
    member,
    optional_member,
    optional_strings,
    read_members,
)
from logplex.api.refusals import BadBody
from logplex.api.routes import admission_of
from logplex.api.v3.app import HEALTH, PUT_RODS, SHOW_RODS, V3App
from logplex.interfaces import IReplacement, IShareRods, StoreAway, WrongStep
from logplex.live import Live
from logplex.model.rods import BadPosition, Panel, Position, Rods, check_position
from logplex.routing.registry import Registry
from logplex.waiting import in_time, unbroken

NODE = "node"
CLUSTER = "cluster"
OK = "ok"
TROUBLED = "troubled"


@frozen
class Health:
    """
    The health of the node, collected from its parts.

    :param node: the name of the node.
    :param started_at_s: the time of the node's start, on the clock of the reactor.
    :param troubles: returns a line of text for each present failure, without secrets.
    :param parts: for each part of the node, by name, a function that returns the part's state as
        JSON.
    """

    node: str
    clock: IReactorTime
    started_at_s: float
    registry: Registry
    rods: Live[Rods]
    troubles: Callable[[], list[str]]
    parts: Mapping[str, Callable[[], object]]

    def report(self) -> dict[str, Any]:
        """Return the health of the node as JSON, for the answer to ``GET /v3/health``."""
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
            "rods": self.rods.now.positions(),
            **{name: ask() for name, ask in self.parts.items()},
        }


@define(eq=False, repr=False, slots=False)
class OperationRoutes:
    """
    The routes of API v3 for operators: health, control rods, tails and shards.

    :param share: sets the positions of control rods for all nodes; ``None`` for a single node.
    :param end_tails: ends every open tail of this node.
    :param replacement: replaces the Redis servers of the spool; ``None`` if the node has no such
        servers.
    """

    _health: Health
    _panel: Panel
    _share: IShareRods | None
    _end_tails: Callable[[], None]
    _replacement: IReplacement | None
    _clock: IReactorTime

    app = V3App()

    @app.on("GET", "/v3/health", HEALTH)
    def health(self, request: Request) -> Response:
        return json_answer(200, self._health.report())

    @app.on("GET", "/v3/rods", SHOW_RODS)
    def show_rods(self, request: Request) -> Response:
        return json_answer(200, self._rods())

    @app.on("PUT", "/v3/rods", PUT_RODS)
    async def put_rods(self, request: Request) -> Response:
        body = read_members(request, "rods", "scope")
        scope = optional_member(body, "scope", str) or NODE
        positions = _positions(member(body, "rods", dict))
        admission_of(request).details.update(positions, scope=scope)
        if scope == NODE:
            self._panel.throw(positions)
        elif scope != CLUSTER:
            raise BadBody(f"'scope' can be {NODE}, {CLUSTER}")
        elif self._share is None:
            return error_answer(422, "this node is not part of a cluster")
        else:
            await in_time(self._share.throw(positions), self._clock)
        return json_answer(200, self._rods())

    @app.on("DELETE", "/v3/tails")
    def end_tails(self, request: Request) -> Response:
        self._end_tails()
        return Response(204)

    @app.on("GET", "/v3/shards")
    def show_shards(self, request: Request) -> Response:
        if self._replacement is None:
            return _no_shards()
        return _shards(self._replacement)

    @app.on("POST", "/v3/shards")
    async def replace_shards(self, request: Request) -> Response:
        body = read_members(request, "step", "urls")
        step, urls = member(body, "step", str), optional_strings(body, "urls")
        if step not in _STEPS:
            raise BadBody(f"'step' can be {', '.join(_STEPS)}")
        if (urls is not None) is not (step == _PREPARE):
            raise BadBody(f"'urls' goes with the step {_PREPARE}, and with no other")
        admission_of(request).details["step"] = step
        if self._replacement is None:
            return _no_shards()
        try:
            await unbroken(Deferred.fromCoroutine(_STEPS[step](self._replacement, urls)))
        except WrongStep as wrong:
            return error_answer(409, str(wrong))
        except StoreAway as away:
            return error_answer(503, str(away))
        except ValueError as bad:
            raise BadBody(str(bad)) from None
        return _shards(self._replacement)

    def _rods(self) -> dict[str, Any]:
        return {
            "rods": self._panel.rods.now.positions(),
            "thrown": self._panel.thrown,
            "shared": self._panel.shared,
        }


_PREPARE = "prepare"
_STEPS: dict[str, Callable[[IReplacement, Any], Any]] = {
    _PREPARE: lambda replacement, urls: replacement.prepare(urls),
    "commit": lambda replacement, _: replacement.commit(),
    "make_permanent": lambda replacement, _: replacement.make_permanent(),
    "abort": lambda replacement, _: replacement.abort(),
}


def _shards(replacement: IReplacement) -> Response:
    shown: dict[str, Any] = {"step": replacement.step.value}
    troubles = replacement.troubles()
    if troubles:
        shown["troubles"] = troubles
    return json_answer(200, shown)


def _no_shards() -> Response:
    return error_answer(422, "this node's store has no shards")


def _positions(rods: dict[str, object]) -> dict[str, Position | None]:
    try:
        return {
            name: None if position is None else check_position(name, position)
            for name, position in rods.items()
        }
    except BadPosition as bad:
        raise BadBody(str(bad)) from None
