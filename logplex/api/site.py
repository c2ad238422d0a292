"""
An API as a site: its gate, its routes, its words for refusing, and what the log says of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from klein import Response
from twisted.internet.interfaces import IReactorTime

from logplex.api.audit import Journal
from logplex.api.json import request_id
from logplex.api.refusals import Refused
from logplex.api.routes import Admission, AdmittedResource, remember
from logplex.settings import Limits
from logplex.web import Refusal, Request, Site, api_bounds

#: How an API says no.
SayNo = Callable[[Refused, Request], Response]


class Gate(Protocol):
    """Stands before the routes of an API."""

    def admit(self, request: Request) -> Admission:
        """
        Let a request pass.

        :raise Refused: it may not.
        """


def as_refusal(answer: Response, delay_s: float = 0.0) -> Refusal:
    """An answer of an API in the form in which it is given on a request's head alone."""
    headers = tuple(
        (str(name).encode(), str(value).encode()) for name, value in answer.headers.items()
    )
    return Refusal(answer.code, headers, answer.body, delay_s)


def api_site(
    gate: Gate,
    say_no: SayNo,
    too_large: Response,
    journal: Journal,
    limits: Limits,
    clock: IReactorTime,
) -> Site:
    """
    What listens for an API.

    :param too_large: the answer to a body past the bound.
    """

    def admit(request: Request) -> Refusal | None:
        request.responseHeaders.setRawHeaders("Request-Id", [request_id(request)])
        try:
            admission = gate.admit(request)
        except Refused as refused:
            journal.asked(request, None, refused)
            return as_refusal(say_no(refused, request), refused.delay_s)
        remember(request, admission)
        journal.asked(request, admission, None)
        return None

    return Site(
        AdmittedResource(),
        admit=admit,
        bounds=api_bounds(limits),
        clock=clock,
        too_large=as_refusal(too_large),
    )
