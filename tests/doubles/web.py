# SPDX-License-Identifier: Apache-2.0

"""A site and a client of it, in memory."""

from __future__ import annotations

from attrs import Factory, define, evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from logplex.web import Bounds, Refusal, Request, Site, plain_refusal
from tests.doubles.wire import Wire

FORBIDDEN = plain_refusal(403, "no", (b"X-Why", b"because"))
CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"


@define(eq=False)
class Echo(Resource):
    """Answers with the body; some paths behave in their own way."""

    isLeaf = True
    requests: list[Request] = Factory(list)
    kept_in: set[type] = Factory(set)

    def render(self, request: Request) -> bytes | int:
        self.requests.append(request)
        self.kept_in.add(type(request.content))
        if request.path == b"/bug":
            raise RuntimeError("secret")
        if request.path == b"/late-bug":
            request.write(b"begun")
            raise RuntimeError("secret")
        if request.path == b"/stream":
            request.write(b"first")
            return NOT_DONE_YET
        if request.path == b"/wait":
            return NOT_DONE_YET
        return request.content.read()


def admit(request: Request) -> Refusal | None:
    request.setHeader(b"Request-Id", b"7")
    if request.path == b"/admission-bug":
        raise RuntimeError("secret")
    if request.path == b"/later":
        return evolve(FORBIDDEN, delay_s=3)
    return FORBIDDEN if request.path == b"/forbidden" else None


class WebTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.clock = Clock()
        self.resource = Echo()
        self.bounds = Bounds(body_bytes=100_000, connections=2, idle_timeout_s=60)
        self.site = Site(
            self.resource,
            admit=admit,
            bounds=lambda: self.bounds,
            clock=self.clock,
        )
        self.wire = Wire(self.site)
