# SPDX-License-Identifier: Apache-2.0

"""
The HTTP site of the legacy API: its routes, and its checks before a request's body is read.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime

from logplex.access.authenticator import Authenticator
from logplex.api.audit import Audit
from logplex.api.json import text_answer
from logplex.api.legacy.refusals import HTML_TYPE, legacy_answer_to
from logplex.api.legacy.routes import Legacy, SessionPage
from logplex.api.provisioning import Provisioning
from logplex.api.refusal_counts import RefusalCounts
from logplex.api.refusals import NotAuthenticated, Unavailable
from logplex.api.routes import READING, Admission, match
from logplex.api.site import api_site, authenticated, refuse_other_origins
from logplex.interfaces import IConfigStore
from logplex.live import Live
from logplex.model.rods import DISABLED, READ_ONLY, Rods
from logplex.model.values import is_for_one_channel
from logplex.routing.registry import Registry
from logplex.settings import Limits, Urls
from logplex.web import Request, Site

#: Open to all: the URL of a session is the right to read it.
_OPEN_TO_ALL = frozenset({"read_session", "preflight_session", "read_canary_session"})
_OPENING_TAILS = frozenset({"open_session", "open_session_v2"})
_OPENING = _OPENING_TAILS | {"open_canary_session"}


@frozen
class LegacyGate:
    """The checks that a request must pass before its route of the legacy API runs."""

    apps: Sequence[Klein]
    registry: Registry
    rods: Live[Rods]
    authenticator: Authenticator

    def admit(self, request: Request) -> Admission:
        """Check a request of the legacy API when its head has been read."""
        if not self.registry.ready:
            raise Unavailable("SYSTEM BOOTING")
        if self.rods.now.legacy_api_status == DISABLED:
            raise Unavailable("Service Temporarily Disabled")
        route = match(self.apps, request)
        if route.name in _OPEN_TO_ALL:
            return Admission(route)
        is_writing = request.method not in READING and route.name != "open_canary_session"
        if self.rods.now.legacy_api_status == READ_ONLY and is_writing:
            raise Unavailable("Logplex API temporarily in read-only mode")
        if route.name in _OPENING_TAILS and self.rods.now.deny_tail_sessions:
            raise Unavailable("Tail sessions are denied")
        if request.method not in READING:
            refuse_other_origins(request)
        caller = authenticated(request, self.authenticator)
        is_for_its_channel = route.name in _OPENING and is_for_one_channel(caller)
        if not (caller.full_api or is_for_its_channel):
            raise NotAuthenticated
        return Admission(route, caller)


def legacy_site(
    provisioning: Provisioning,
    store: IConfigStore,
    registry: Registry,
    authenticator: Authenticator,
    *,
    rods: Live[Rods],
    urls: Urls,
    limits: Live[Limits],
    clock: IReactorTime,
    audit: Audit,
    refusals: RefusalCounts,
    session_page: SessionPage,
) -> Site:
    """
    Return the HTTP site of the legacy API.

    :param provisioning: changes the configuration; API v3 uses the same object.
    :param session_page: the resource that answers requests for sessions (PROTOCOL §7).
    """
    api = Legacy(provisioning, store, registry, rods, clock, urls, session_page)
    return api_site(
        LegacyGate([api.app], registry, rods, authenticator),
        lambda refused, request: legacy_answer_to(refused, request.path),
        text_answer(413, "Request body too large", HTML_TYPE),
        audit,
        refusals=refusals,
        limits=limits,
        clock=clock,
    )
