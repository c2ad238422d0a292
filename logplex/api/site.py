# SPDX-License-Identifier: Apache-2.0

"""
The HTTP site of an API: its checks, its routes, its answers to refused requests, and its log lines.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from klein import Response
from twisted.internet.interfaces import IReactorTime

from logplex.access.authenticator import Authenticator, NotKnown
from logplex.api.audit import Audit
from logplex.api.json import request_id
from logplex.api.refusal_counts import RefusalCounts, reason_of
from logplex.api.refusals import BadHead, NotAuthenticated, OtherOrigin, RequestRefused
from logplex.api.routes import Admission, AdmittedResource, remember
from logplex.live import Live
from logplex.model.values import NOBODY, Credential
from logplex.settings import Limits
from logplex.web import Refusal, Request, Site, api_bounds

#: Gives an API's answer to a refused request.
SayNo = Callable[[RequestRefused, Request], Response]


class Gate(Protocol):
    """The checks that a request must pass before its route runs."""

    def admit(self, request: Request) -> Admission:
        """
        Check a request when its head has been read, before its body arrives.

        :raise RequestRefused: the request is refused.
        """


def authenticated(request: Request, authenticator: Authenticator) -> Credential:
    """
    Return the credential of the caller.

    :raise NotAuthenticated: the id or the password of the caller is wrong.
    :raise BadHead: the request has two ``Authorization`` headers.
    """
    given = request.requestHeaders.getRawHeaders(b"Authorization", [])
    if len(given) > 1:
        raise BadHead("there must be one Authorization header")
    try:
        return authenticator.api_user(given[0] if given else None, request.address)
    except NotKnown as unknown:
        raise NotAuthenticated(unknown.delay_s) from None


def refuse_other_origins(request: Request) -> None:
    """
    Refuse a change that a web page of another site makes a browser send. The browser would add the
    password that it keeps for this API.

    :raise OtherOrigin: the headers of the request name another origin. Only browsers send such
        headers.
    """
    headers = request.requestHeaders
    site = headers.getRawHeaders(b"Sec-Fetch-Site", [b"none"])
    origin = headers.getRawHeaders(b"Origin", [])
    host = request.getHeader(b"Host") or b""
    own = {b"http://" + host, b"https://" + host}
    if not {b"none", b"same-origin"}.issuperset(site) or not own.issuperset(origin):
        raise OtherOrigin


def as_refusal(answer: Response, delay_s: float = 0.0) -> Refusal:
    """Convert an API's answer to a refusal, which can be sent before the request's body arrives."""
    headers = tuple(
        (str(name).encode(), str(value).encode()) for name, value in answer.headers.items()
    )
    return Refusal(answer.code, headers, answer.body, delay_s)


def api_site(
    gate: Gate,
    say_no: SayNo,
    too_large: Response,
    audit: Audit,
    *,
    refusals: RefusalCounts,
    limits: Live[Limits],
    clock: IReactorTime,
) -> Site:
    """
    Return the HTTP site of an API.

    :param too_large: the answer to a body that is larger than the bound.
    :param refusals: counts the refused requests.
    """

    def admit(request: Request) -> Refusal | None:
        request.responseHeaders.setRawHeaders("Request-Id", [request_id(request)])
        try:
            admission = gate.admit(request)
        except RequestRefused as refused:
            audit.judged(request, None, refused)
            answer = say_no(refused, request)
            refusals.count(answer.code, reason_of(refused), request.address)
            return as_refusal(answer, refused.delay_s)
        remember(request, admission)
        if admission.caller is not NOBODY:
            # Not the open routes: a tail lasts for hours, and there may be thousands.
            refusals.watch(request)
        audit.judged(request, admission, None)
        return None

    return Site(
        AdmittedResource(),
        admit=admit,
        bounds=api_bounds(limits),
        clock=clock,
        too_large=as_refusal(too_large),
    )
