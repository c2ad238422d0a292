"""
Who may pass into API v3, decided from a request's head: readiness, status, route, caller, type.

The order of the checks is the contract's (PROTOCOL §5): 503, 405, 401, 415, 400.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from klein import Klein

from logplex.access.authenticator import Authenticator, NotKnown
from logplex.api.json import check_json_type
from logplex.api.provisioning import check_channel_id
from logplex.api.refusals import NotAuthenticated, Refused, Unavailable
from logplex.api.routes import READING, Admission, Match, match
from logplex.model.rods import DISABLED, READ_ONLY, Rods
from logplex.model.values import Credential, is_for_one_channel, may_read
from logplex.routing.registry import Registry
from logplex.web import Request

#: The route that is open to everybody, always.
HEALTH_CHECK = "health_check"
#: The route that tells a starting node's operators what it waits for.
HEALTH = "health"
#: Routes for a credential of one channel too.
LOGS = "logs"
OPEN_SESSION = "open_session"
#: Sends what a control rod may forbid to be sent.
TEST_DRAIN = "test_drain"
#: Routes that a disabled API answers too: nobody could switch it back otherwise.
SHOW_RODS = "show_rods"
PUT_RODS = "put_rods"
_NEVER_DISABLED = frozenset({SHOW_RODS, PUT_RODS})

_WITH_BODY = frozenset({b"POST", b"PUT"})


def check_status(status: str, method: bytes) -> None:
    """
    Whether an API of this status answers this method.

    :raise Unavailable: it does not.
    """
    if status == DISABLED:
        raise Unavailable("the API is disabled")
    if status == READ_ONLY and method not in READING:
        raise Unavailable("the API is read-only")


def authenticated(request: Request, authenticator: Authenticator) -> Credential:
    """
    Who asks.

    :raise NotAuthenticated: nobody known.
    """
    try:
        return authenticator.api_user(request.getHeader(b"Authorization"), request.address)
    except NotKnown as nobody:
        raise NotAuthenticated(nobody.delay_s) from None


@frozen
class V3Gate:
    """Stands before the routes of API v3."""

    apps: Sequence[Klein]
    registry: Registry
    rods: Rods
    authenticator: Authenticator

    def admit(self, request: Request) -> Admission:
        """See :class:`logplex.api.site.Gate`."""
        method = request.method
        try:
            route = match(self.apps, request)
        except Refused:
            self._check_ready()
            check_status(self.rods.api_status, method)
            raise
        if route.name == HEALTH_CHECK:
            return Admission(route)
        if route.name != HEALTH:
            self._check_ready()
        if route.name not in _NEVER_DISABLED:
            check_status(self.rods.api_status, method)
        if route.name == OPEN_SESSION and self.rods.deny_tail_sessions:
            raise Unavailable("tail sessions are denied")
        if route.name == TEST_DRAIN and self.rods.deny_drain_forwarding:
            raise Unavailable("drain forwarding is denied")
        caller = self._caller(request, route)
        if method in _WITH_BODY:
            check_json_type(request)
        if "channel_id" in route.arguments:
            check_channel_id(route.arguments["channel_id"])
        return Admission(route, caller)

    def _check_ready(self, delay_s: float = 0.0) -> None:
        if not self.registry.ready:
            raise Unavailable("the node is starting", delay_s)

    def _caller(self, request: Request, route: Match) -> Credential:
        try:
            caller = authenticated(request, self.authenticator)
        except NotAuthenticated as nobody:
            # Who asks may be in the store, and that is not loaded.
            self._check_ready(nobody.delay_s)
            raise
        if not (caller.full_api or _is_for_its_channel(caller, route)):
            raise NotAuthenticated
        return caller


def _is_for_its_channel(caller: Credential, route: Match) -> bool:
    """Whether a credential of one channel may ask this. A session's channel is in its body."""
    if route.name == LOGS:
        return may_read(caller, route.arguments["channel_id"])
    return route.name == OPEN_SESSION and is_for_one_channel(caller)
