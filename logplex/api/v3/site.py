# SPDX-License-Identifier: Apache-2.0

"""
The HTTP site of API v3: its routes, and its checks before a request's body is read.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime

from logplex.access.authenticator import Authenticator
from logplex.api.audit import Audit
from logplex.api.json import check_json_type, error_answer
from logplex.api.names import check_channel_id
from logplex.api.provisioning import Provisioning
from logplex.api.refusal_counts import RefusalCounts
from logplex.api.refusals import NotAuthenticated, RequestRefused, Unavailable
from logplex.api.routes import READING, Admission, Match, match
from logplex.api.site import api_site, authenticated
from logplex.api.v3.activity import ActivityRoutes
from logplex.api.v3.app import (
    ACTIVITY,
    END_SESSION,
    HEALTH,
    HEALTH_CHECK,
    LOGS,
    OPEN_SESSION,
    PUT_RODS,
    SHOW_RODS,
    TEST_DRAIN,
    answer_to,
)
from logplex.api.v3.channels import ChannelRoutes
from logplex.api.v3.configuration import ConfigurationRoutes
from logplex.api.v3.credentials import CredentialRoutes
from logplex.api.v3.operation import OperationRoutes
from logplex.interfaces import IConfigStore, IDrains, ISpool
from logplex.live import Live
from logplex.model.rods import DISABLED, READ_ONLY, Rods
from logplex.model.values import Credential, is_for_one_channel, may_read
from logplex.routing.registry import Registry
from logplex.settings import Auth, Limits, Urls
from logplex.web import Request, Site

_NEVER_DISABLED = frozenset({SHOW_RODS, PUT_RODS})

_SESSIONS = frozenset({OPEN_SESSION, END_SESSION})

_WITH_BODY = frozenset({b"POST", b"PUT"})


def check_status(status: str, method: bytes) -> None:
    """
    Check that API v3 may answer a request with this HTTP method now.

    :param status: the position of the control rod of API v3.
    :raise Unavailable: the API is disabled, or it is read-only and the method changes something.
    """
    if status == DISABLED:
        raise Unavailable("the API is disabled")
    if status == READ_ONLY and method not in READING:
        raise Unavailable("the API is read-only")


@frozen
class V3Gate:
    """
    The checks that a request must pass before its route of API v3 runs: readiness, status, route,
    caller, content type, id.

    PROTOCOL §5 demands the order of the checks: 503, 405, 401, 415, 400.
    """

    apps: Sequence[Klein]
    registry: Registry
    rods: Live[Rods]
    authenticator: Authenticator

    def admit(self, request: Request) -> Admission:
        """Check a request of API v3 when its head has been read."""
        method = request.method
        try:
            route = match(self.apps, request)
        except RequestRefused:
            self._check_ready()
            check_status(self.rods.now.api_status, method)
            raise
        if route.name == HEALTH_CHECK:
            return Admission(route)
        if route.name != HEALTH:
            self._check_ready()
        if route.name not in _NEVER_DISABLED:
            check_status(self.rods.now.api_status, method)
        if route.name == OPEN_SESSION and self.rods.now.deny_tail_sessions:
            raise Unavailable("tail sessions are denied")
        if route.name == TEST_DRAIN and self.rods.now.deny_drain_forwarding:
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
        except NotAuthenticated as refused:
            # The credential may be in the store, which has not been loaded.
            self._check_ready(refused.delay_s)
            raise
        if not (caller.full_api or _is_for_its_channel(caller, route)):
            raise NotAuthenticated
        return caller


def _is_for_its_channel(caller: Credential, route: Match) -> bool:
    """
    Return true if a credential for one channel may use this route. A route for sessions checks the
    channel itself, because the channel's id is in the body.
    """
    if route.name in (LOGS, ACTIVITY):
        return may_read(caller, route.arguments["channel_id"])
    return route.name in _SESSIONS and is_for_one_channel(caller)


def v3_site(
    provisioning: Provisioning,
    store: IConfigStore,
    registry: Registry,
    spool: ISpool,
    *,
    drains: IDrains,
    authenticator: Authenticator,
    rods: Live[Rods],
    auth: Auth,
    urls: Urls,
    limits: Live[Limits],
    clock: IReactorTime,
    audit: Audit,
    refusals: RefusalCounts,
    activity: ActivityRoutes,
    operation: OperationRoutes,
) -> Site:
    """
    Return the HTTP site of API v3.

    :param provisioning: changes the configuration; the legacy API uses the same object.
    :param activity: the route for the activity of a channel.
    :param operation: the routes for operators.
    """
    channels = ChannelRoutes(provisioning, registry, spool, drains, clock, urls, activity.node_name)
    credentials = CredentialRoutes(store, registry, authenticator, auth, urls, clock)
    configuration = ConfigurationRoutes(
        store, registry, limits, provisioning.has_journal, clock=clock
    )
    return api_site(
        V3Gate(
            [channels.app, activity.app, credentials.app, configuration.app, operation.app],
            registry,
            rods,
            authenticator,
        ),
        lambda refused, request: answer_to(refused),
        error_answer(413, "the body is too large"),
        audit,
        refusals=refusals,
        limits=limits,
        clock=clock,
    )
