# SPDX-License-Identifier: Apache-2.0

"""
The routes of API v3 that export and import the whole configuration.
"""

from __future__ import annotations

import json

from attrs import define
from klein import Response
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.web.server import Request

from logplex.api.import_checks import check_import
from logplex.api.json import JSON_TYPE, json_answer, read_object
from logplex.api.refusals import BadBody
from logplex.api.routes import admission_of
from logplex.api.v3.app import V3App
from logplex.interfaces import IConfigStore
from logplex.live import Live
from logplex.model.export import MEMBERS, BadExport, exported, import_values, member_of
from logplex.model.values import Put
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.waiting import in_time, unbroken

#: The number of values that are written at once; in between the node does other things.
_VALUES_AT_ONCE = 500


@define(eq=False, repr=False, slots=False)
class ConfigurationRoutes:
    """The routes of API v3 that export and import the whole configuration."""

    _store: IConfigStore
    _registry: Registry
    _limits: Live[Limits]
    _has_journal: bool
    _clock: IReactorTime

    app = V3App()

    @app.on("GET", "/v3/configuration")
    async def export_configuration(self, request: Request) -> Response:
        values = self._registry.values()
        texts: dict[str, list[str]] = {member: [] for member in MEMBERS}
        for place, value in enumerate(values, 1):
            texts[member_of(value)].append(json.dumps(exported(value)))
            if place % _VALUES_AT_ONCE == 0:
                await deferLater(self._clock, 0)
        members = (f'"{member}":[{",".join(each)}]' for member, each in texts.items())
        return Response(200, {"Content-Type": JSON_TYPE}, f"{{{','.join(members)}}}".encode())

    @app.on("POST", "/v3/configuration")
    async def import_configuration(self, request: Request) -> Response:
        try:
            values = import_values(read_object(request))
        except BadExport as bad:
            raise BadBody(str(bad)) from None
        check_import(values, self._registry, self._limits.now, self._has_journal)
        counts = dict.fromkeys(MEMBERS, 0)
        for value in values:
            counts[member_of(value)] += 1
        admission_of(request).details.update(counts)
        committing = self._store.commit([Put(value) for value in values])
        await in_time(Deferred.fromCoroutine(unbroken(committing)), self._clock)
        return json_answer(200, counts)
