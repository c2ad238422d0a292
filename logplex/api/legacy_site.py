"""
The legacy API as a site: who may pass, decided from a request's head, and the routes behind.
"""

from __future__ import annotations

from collections.abc import Sequence

from attrs import frozen
from klein import Klein
from twisted.internet.interfaces import IReactorTime

from logplex.api.admission import Admission, AdmittedResource, remember
from logplex.api.answers import request_id, text_answer
from logplex.api.gate import READING
from logplex.api.legacy import Legacy, SessionPage
from logplex.api.legacy_refusals import HTML_TYPE, legacy_answer_to
from logplex.api.provisioning import Provisioning
from logplex.api.refusals import NotAuthenticated, Refused, Unavailable
from logplex.api.routing import match
from logplex.api.v3_site import as_refusal
from logplex.authentication import Authenticator, is_for_one_channel
from logplex.config import Limits, Urls
from logplex.interfaces import IConfigStore
from logplex.registry import Registry
from logplex.rods import DISABLED, READ_ONLY, Rods
from logplex.web import Refusal, Request, Site, api_bounds

#: Who knows a session's URL may read it.
_OPEN_TO_ALL = frozenset({"read_session", "read_canary_session"})
_OPENING_TAILS = frozenset({"open_session", "open_session_v2"})
_OPENING = _OPENING_TAILS | {"open_canary_session"}


@frozen
class LegacyGate:
    """Stands before the routes of the legacy API."""

    apps: Sequence[Klein]
    registry: Registry
    rods: Rods
    authenticator: Authenticator

    def admit(self, request: Request) -> None:
        """
        Let a request pass, and remember its route and who asks.

        :raise Refused: it may not pass.
        """
        if not self.registry.ready:
            raise Unavailable("SYSTEM BOOTING")
        if self.rods.legacy_api_status == DISABLED:
            raise Unavailable("Service Temporarily Disabled")
        route = match(self.apps, request)
        if route.name in _OPEN_TO_ALL:
            remember(request, Admission(route))
            return
        is_writing = request.method not in READING and route.name != "open_canary_session"
        if self.rods.legacy_api_status == READ_ONLY and is_writing:
            raise Unavailable("Logplex API temporarily in read-only mode")
        if route.name in _OPENING_TAILS and self.rods.deny_tail_sessions:
            raise Unavailable("Tail sessions are denied")
        caller = self.authenticator.api_user(request.getHeader(b"Authorization"))
        if caller is None or not (
            caller.full_api or (route.name in _OPENING and is_for_one_channel(caller))
        ):
            raise NotAuthenticated
        remember(request, Admission(route, caller))


def legacy_site(
    provisioning: Provisioning,
    store: IConfigStore,
    registry: Registry,
    authenticator: Authenticator,
    rods: Rods,
    urls: Urls,
    limits: Limits,
    clock: IReactorTime,
    session_page: SessionPage,
) -> Site:
    """
    The legacy API, to be listened with.

    :param provisioning: changes the store; API v3 shares it.
    :param session_page: gives the resource that answers for a session (PROTOCOL §7).
    """
    api = Legacy(provisioning, store, registry, rods, clock, urls, session_page)
    gate = LegacyGate([api.app], registry, rods, authenticator)

    def admit(request: Request) -> Refusal | None:
        request.responseHeaders.setRawHeaders("Request-Id", [request_id(request)])
        try:
            gate.admit(request)
        except Refused as refused:
            return as_refusal(legacy_answer_to(refused, request.path))
        return None

    return Site(
        AdmittedResource(),
        admit=admit,
        bounds=api_bounds(limits),
        clock=clock,
        too_large=as_refusal(text_answer(413, "Request body too large", HTML_TYPE)),
    )
