"""
API v3 as a site: the gate before its routes, within the bounds of an HTTP server.
"""

from __future__ import annotations

from klein import Response
from twisted.internet.interfaces import IReactorTime

from logplex.api.admission import AdmittedResource
from logplex.api.answers import error_answer, request_id
from logplex.api.gate import Gate
from logplex.api.provisioning import Provisioning
from logplex.api.refusals import Refused
from logplex.api.v3_answers import answer_to
from logplex.api.v3_channels import ChannelRoutes
from logplex.authentication import Authenticator
from logplex.config import Limits, Urls
from logplex.interfaces import ISpool
from logplex.registry import Registry
from logplex.rods import Rods
from logplex.web import Refusal, Request, Site, api_bounds


def as_refusal(answer: Response) -> Refusal:
    """An answer of an API in the form in which it is given on a request's head alone."""
    headers = tuple(
        (str(name).encode(), str(value).encode()) for name, value in answer.headers.items()
    )
    return Refusal(answer.code, headers, answer.body)


def v3_site(
    provisioning: Provisioning,
    registry: Registry,
    spool: ISpool,
    authenticator: Authenticator,
    rods: Rods,
    urls: Urls,
    limits: Limits,
    clock: IReactorTime,
) -> Site:
    """
    API v3, to be listened with.

    :param provisioning: changes the store; the legacy API shares it.
    """
    channels = ChannelRoutes(provisioning, registry, spool, clock, urls)
    gate = Gate([channels.app], registry, rods, authenticator)

    def admit(request: Request) -> Refusal | None:
        request.responseHeaders.setRawHeaders("Request-Id", [request_id(request)])
        try:
            gate.admit(request)
        except Refused as refused:
            return as_refusal(answer_to(refused))
        return None

    return Site(
        AdmittedResource(),
        admit=admit,
        bounds=api_bounds(limits),
        clock=clock,
        too_large=as_refusal(error_answer(413, "the body is too large")),
    )
