# SPDX-License-Identifier: Apache-2.0

"""A request's route is searched for once, on its head."""

from __future__ import annotations

from klein import Response
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from logplex.api.audit import Audit
from logplex.api.json import error_answer, text_answer
from logplex.api.refusal_counts import RefusalCounts
from logplex.api.routes import Admission, App, DrainId, match
from logplex.api.site import api_site
from logplex.live import Live
from logplex.settings import Limits
from tests.doubles.exchange import send


class CountingId(DrainId):
    """Counts how often a path is matched."""

    matched: list[str] = []

    def to_python(self, value: str) -> int:
        self.matched.append(value)
        return super().to_python(value)


class Routes:
    """One route, which shows its argument."""

    app = App()
    app.url_map.converters["drain_id"] = CountingId

    @app.on("GET", "/things/<drain_id:number>")
    def show(self, request: Request, number: int) -> Response:
        return text_answer(200, f"thing {number}")


class Gate:
    """Admits every request that has a route."""

    routes = Routes()

    def admit(self, request: Request) -> Admission:
        return Admission(match([self.routes.app], request))


class RouteTests(SynchronousTestCase):
    def test_matched_once(self) -> None:
        CountingId.matched.clear()
        site = api_site(
            Gate(),
            lambda refused, request: error_answer(404, "none"),
            error_answer(413, "too large"),
            Audit(),
            refusals=RefusalCounts("api", Clock()),
            limits=Live(Limits()),
            clock=Clock(),
        )
        answer = send(site, "GET", "/things/7?x=1", {}, b"").answer()
        self.assertEqual((answer.code, answer.text), (200, "thing 7"))
        self.assertEqual(CountingId.matched, ["7"])
