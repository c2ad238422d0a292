"""
Who may pass into API v3, decided from a request's head: readiness, status, route, caller, type.

The order of the checks is the contract's (PROTOCOL §5): 503, 405, 401, 415, 400.
"""

from __future__ import annotations

from attrs import frozen
from klein import Klein
from twisted.python.components import Componentized
from twisted.web.server import Request
from zope.interface import Interface

from logplex.api.answers import check_json_type
from logplex.api.provisioning import check_channel_id
from logplex.api.refusals import NotAuthenticated, Refused, Unavailable
from logplex.api.routing import Match, match
from logplex.authentication import Authenticator, may_read
from logplex.model import ANY_CHANNEL, Credential
from logplex.registry import Registry
from logplex.rods import DISABLED, READ_ONLY, Rods

#: The route that is open to everybody, always.
HEALTH_CHECK = "health_check"
#: Routes for a credential of one channel too.
LOGS = "logs"
OPEN_SESSION = "open_session"

_READING = frozenset({"GET", "HEAD"})
_WITH_BODY = frozenset({"POST", "PUT"})


class ICaller(Interface):
    """The component of a request that says who asks: a :class:`Credential`."""


def remember_caller(request: Componentized, caller: Credential) -> None:
    """Say who asks, for :func:`caller_of`."""
    request.setComponent(ICaller, caller)


def caller_of(request: Componentized) -> Credential:
    """Who asks. Only for requests that a gate let pass."""
    caller: Credential = request.getComponent(ICaller)
    return caller


def check_status(status: str, method: str) -> None:
    """
    Whether an API of this status answers this method.

    :raise Unavailable: it does not.
    """
    if status == DISABLED:
        raise Unavailable("the API is disabled")
    if status == READ_ONLY and method not in _READING:
        raise Unavailable("the API is read-only")


@frozen
class Gate:
    """Stands before the routes of API v3."""

    app: Klein
    registry: Registry
    rods: Rods
    authenticator: Authenticator

    def admit(self, request: Request) -> None:
        """
        Let a request pass, and remember who asks, as :class:`ICaller`.

        :raise Refused: it may not pass.
        """
        method = request.method.decode("ascii", "replace")
        try:
            route = match(self.app, request)
        except Refused:
            self._check_ready(method)
            raise
        if route.name == HEALTH_CHECK:
            return
        self._check_ready(method)
        if route.name == OPEN_SESSION and self.rods.deny_tail_sessions:
            raise Unavailable("tail sessions are denied")
        remember_caller(request, self._caller(request, route))
        if method in _WITH_BODY:
            check_json_type(request)
        if "channel_id" in route.arguments:
            check_channel_id(route.arguments["channel_id"])

    def _check_ready(self, method: str) -> None:
        if not self.registry.ready:
            raise Unavailable("the node is starting")
        check_status(self.rods.api_status, method)

    def _caller(self, request: Request, route: Match) -> Credential:
        caller = self.authenticator.api_user(request.getHeader(b"Authorization"))
        if caller is None or not (caller.full_api or _is_for_one_channel(caller, route)):
            raise NotAuthenticated
        return caller


def _is_for_one_channel(caller: Credential, route: Match) -> bool:
    """Whether a credential of one channel may ask this. A session's channel is in its body."""
    if route.name == LOGS:
        return may_read(caller, route.arguments["channel_id"])
    return route.name == OPEN_SESSION and caller.channel not in (None, ANY_CHANNEL)
