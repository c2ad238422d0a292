"""
What a gate found out about a request that it let pass, for the route that answers it.
"""

from __future__ import annotations

from typing import Any

from attrs import Factory, frozen
from twisted.web.resource import Resource
from twisted.web.server import Request
from zope.interface import Interface

from logplex.api.routes import Match
from logplex.model.values import NOBODY, Credential


class IAdmission(Interface):
    """The component of a request that holds its :class:`Admission`."""


@frozen
class Admission:
    """
    A request may pass.

    :ivar caller: who asks; :data:`NOBODY` on routes that are open to everybody.
    :ivar details: what the route adds to the log's line about a change, nothing secret.
    """

    route: Match
    caller: Credential = NOBODY
    details: dict[str, object] = Factory(dict)


def remember(request: Request, admission: Admission) -> None:
    """Keep it with the request."""
    request.setComponent(IAdmission, admission)


def admission_of(request: Request) -> Admission:
    """What was kept with the request by the gate that let it pass."""
    admission: Admission = request.getComponent(IAdmission)
    return admission


class AdmittedResource(Resource):
    """Answers every request with the application in which its gate found a route."""

    isLeaf = True

    def render(self, request: Request) -> Any:
        """Klein finds the route again, in the same map."""
        return admission_of(request).route.app.resource().render(request)
