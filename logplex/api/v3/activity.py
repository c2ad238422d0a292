# SPDX-License-Identifier: Apache-2.0

"""
The route of API v3 for the activity of a channel on this node: the counts of received, refused and
dropped messages, and the state of the channel's drains.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any

from attrs import asdict, define, field, frozen
from klein import Response
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from logplex.api.json import json_answer
from logplex.api.refusals import UnknownChannel
from logplex.api.v3.app import ACTIVITY, V3App
from logplex.clock import wall_s
from logplex.interfaces import IDrains
from logplex.model.destination import BadDestination, parse_destination
from logplex.model.values import Drain
from logplex.routing.activity import ChannelActivity
from logplex.routing.registry import Registry

#: Rates are those of this time, or of the time since the request before.
WINDOW_S = 10.0
#: A channel is forgotten this long after the last request about it.
FORGET_AFTER_S = 15.0


@frozen
class NodeActivity:
    """
    The functions of the node that give the activity of a channel.

    :ivar node: the name of the node.
    :ivar started_at_s: the time of the node's start, on the clock of the reactor.
    :ivar activity: returns the counts of a channel; ``None`` for an unknown channel.
    :ivar watch: makes the node count the bytes and the sources of a channel's messages for some
        seconds.
    :ivar tails: returns the number of open tails of a channel.
    """

    node: str
    started_at_s: float
    activity: Callable[[str], ChannelActivity | None]
    watch: Callable[[], None]
    tails: Callable[[str], int]


@frozen
class _Reading:
    """The counts of a channel at one time. The difference of two readings gives a rate."""

    at_s: float
    received: int
    received_bytes: int
    dropped: int


@define(eq=False, repr=False, slots=False)
class ActivityRoutes:
    """
    The route of API v3 for the activity of a channel.

    :param drains: returns the status of each drain on this node.
    """

    _node: NodeActivity
    _registry: Registry
    _drains: IDrains
    _clock: IReactorTime
    _readings: OrderedDict[str, deque[_Reading]] = field(factory=OrderedDict, init=False)

    app = V3App()

    @app.on("GET", "/v3/channels/<channel_id>/activity", ACTIVITY)
    def show_activity(self, request: Request, channel_id: str) -> Response:
        activity = self._node.activity(channel_id)
        if activity is None:
            raise UnknownChannel
        self._node.watch()
        now = self._clock.seconds()
        drains = [self._drain(each) for each in self._registry.drains_of(channel_id)]
        refused = [
            {"status": status, "reason": reason, "requests": count}
            for (status, reason), count in sorted(activity.refused.items())
        ]
        by_count = sorted(activity.sources.items(), key=lambda item: (-item[1], item[0]))
        sources = [
            {"source": source, "process": process, "received": count}
            for (source, process), count in by_count
        ]
        dropped = sum(activity.dropped.values()) + sum(each.get("dropped", 0) for each in drains)
        reading = _Reading(now, activity.received, activity.received_bytes, dropped)
        shown: dict[str, Any] = {
            "at": wall_s(self._clock),
            "node": self._node.node,
            "uptime_s": round(now - self._node.started_at_s, 3),
            "channel": channel_id,
            "received": activity.received,
            "last_received_at": activity.received_at,
            **self._rates(channel_id, reading),
            "dropped": dict(activity.dropped),
            "refused": refused,
            "tails": self._node.tails(channel_id),
            "sources": sources,
            "drains": drains,
        }
        return json_answer(200, {name: each for name, each in shown.items() if _is_shown(each)})

    def _rates(self, channel_id: str, reading: _Reading) -> dict[str, float]:
        """
        Return the rates between the oldest kept reading and this reading. The result is empty if
        there is no older reading.
        """
        for known, readings in list(self._readings.items()):
            if readings[-1].at_s > reading.at_s - FORGET_AFTER_S:
                break
            del self._readings[known]
        readings = self._readings.pop(channel_id, deque[_Reading]())
        self._readings[channel_id] = readings
        while len(readings) > 1 and readings[1].at_s <= reading.at_s - WINDOW_S:
            readings.popleft()
        readings.append(reading)
        first = readings[0]
        passed_s = reading.at_s - first.at_s
        if passed_s <= 0:
            return {}
        return {
            "window_s": round(passed_s, 3),
            "received_per_s": round((reading.received - first.received) / passed_s, 1),
            "bytes_per_s": round((reading.received_bytes - first.received_bytes) / passed_s, 1),
            "dropped_per_s": round((reading.dropped - first.dropped) / passed_s, 1),
        }

    @property
    def node_name(self) -> str:
        """The name of the node."""
        return self._node.node

    def _drain(self, drain: Drain) -> dict[str, Any]:
        """Return a drain as JSON. The JSON contains only the host of the drain's URL."""
        status = self._drains.status(drain.id)
        shown: dict[str, Any] = {"id": drain.id, "to": _receiver(drain.url)}
        shown.update({} if status is None else asdict(status))
        return {name: each for name, each in shown.items() if each is not None}


def _is_shown(value: object) -> bool:
    return value is not None and value != [] and value != {}


def _receiver(url: str | None) -> str | None:
    if url is None:
        return None
    try:
        return parse_destination(url).public
    except BadDestination:
        return None
