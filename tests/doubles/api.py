# SPDX-License-Identifier: Apache-2.0

"""The APIs over memory; every answer is held against its API's description."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Sequence
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.static import Data

from logplex.access.authenticator import Authenticator, Throttle
from logplex.api.audit import Audit
from logplex.api.legacy.site import legacy_site
from logplex.api.provisioning import Provisioning
from logplex.api.refusal_counts import RefusalCounts
from logplex.api.v3.activity import ActivityRoutes, NodeActivity
from logplex.api.v3.operation import Health, OperationRoutes
from logplex.api.v3.site import v3_site
from logplex.interfaces import DrainStatus
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Panel, Rods
from logplex.model.values import ANY_CHANNEL, Channel, Credential, Drain, Put, Token, Value
from logplex.routing.activity import ChannelActivity
from logplex.routing.registry import Registry
from logplex.settings import Auth, Limits, Spool, Urls
from logplex.spool.memory import MemorySpool
from logplex.web import Site
from tests.api.openapi import LEGACY, V3, Description
from tests.doubles.exchange import Answer, Exchange, send
from tests.doubles.interfaces import DictConfigStore, FakeDrains, FakeReplacement, SharedPanel

AUTH_KEY = "auth:key"

FULL = Credential("full", "secret", full_api=True)
ANY = Credential("any", "secret", channel=ANY_CHANNEL)
ONE = Credential("one", "secret", channel="app")

#: A session of the channel ``app``.
SESSION = "01234567-89ab-cdef-0123-456789abcdef"

#: The values in the store at the start.
APP = (
    Channel("app", "name"),
    Token("t.old", "app", "web", 1),
    Token("t.new", "app", "web", 2),
    Drain(1, "app", "d.1", "http://h1"),
    Drain(2, "app", "d.2", "http://h2"),
    Drain(3, "app", "d.reserved"),
    Channel("empty"),
    Credential("stored", "secret", "the operators", full_api=True, channel="app"),
)


def basic(user: str, password: str = "secret") -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class ApiCase(SynchronousTestCase):
    """A node that serves both APIs."""

    plain_passwords = False
    in_cluster = True

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000)
        self.registry = Registry()
        self.rods = Live(Rods())
        self.panel = Panel(self.rods)
        self.troubles: list[str] = []
        self.ended: list[str] = []
        self.watched: list[str] = []
        self.refused = [RefusalCounts(api, self.clock) for api in ("api_v3", "api")]
        self.drains = FakeDrains({1: DrainStatus("connected", received=3, delivered=3)})
        self.share = SharedPanel(self.panel) if self.in_cluster else None
        self.replacement = FakeReplacement() if self.in_cluster else None
        self.store = DictConfigStore(self.clock)
        self.spool = MemorySpool(Spool(), self.clock, Counters())
        urls, limits = Urls("http://api", "http://v3"), Live(Limits())
        uuids = map(UUID, (f"{n:032x}" for n in count(1)))
        self.counters = Counters()

        def new_uuid() -> UUID:
            return next(uuids)

        provisioning = Provisioning(
            self.store,
            self.registry,
            self.spool,
            self.clock,
            limits,
            self.counters,
            lambda: next(uuids),
        )
        throttle = Throttle(self.clock, limits, self.counters)
        authenticator = Authenticator(
            self.registry.credential,
            [FULL, ANY, ONE],
            AUTH_KEY,
            throttle,
        )
        self.v3 = v3_site(
            provisioning,
            self.store,
            self.registry,
            self.spool,
            drains=self.drains,
            authenticator=authenticator,
            rods=self.rods,
            auth=Auth(plain_passwords=self.plain_passwords),
            urls=urls,
            limits=limits,
            clock=self.clock,
            audit=Audit(every_request=True),
            refusals=self.refused[0],
            activity=ActivityRoutes(
                NodeActivity(
                    "node-1",
                    900.0,
                    self.activity,
                    lambda: self.watched.append("all"),
                    lambda channel_id: 2 if channel_id == "app" else 0,
                ),
                self.registry,
                self.drains,
                self.clock,
            ),
            operation=OperationRoutes(
                Health(
                    "node-1",
                    self.clock,
                    900.0,
                    self.registry,
                    self.rods,
                    lambda: self.troubles,
                    {"listeners": lambda: ["tcp:1"]},
                ),
                self.panel,
                self.share,
                lambda: self.ended.append("tails"),
                self.replacement,
                self.clock,
            ),
        )
        self.legacy = legacy_site(
            provisioning,
            self.store,
            self.registry,
            authenticator,
            rods=self.rods,
            urls=urls,
            limits=limits,
            clock=self.clock,
            audit=Audit(),
            refusals=self.refused[1],
            session_page=lambda session_id, may_tail: SessionPage(
                f"{session_id} {may_tail}".encode(), "text/html"
            ),
        )
        self.store.sessions[SESSION] = (1e9, b'{"channel_id": "app"}')
        self.store.counters["drain_index"] = 3
        self.store.values = {(type(value), value.id): value for value in self.stored()}
        self.successResultOf(self.store.open(self.registry))

    def stored(self) -> Sequence[Value]:
        """Return what the store holds at the start."""
        return APP

    def activity(self, channel_id: str) -> ChannelActivity | None:
        """Return the counts of a channel."""
        stream = self.registry.stream(channel_id)
        return stream.activity if stream else None

    def put(self, *values: Value) -> None:
        """Store values."""
        self.successResultOf(self.store.commit([Put(value) for value in values]))

    def send_to(
        self,
        site: Site,
        method: str,
        target: str,
        body: object = None,
        auth: str | None = basic("full"),
        headers: dict[str, str] | None = None,
    ) -> Exchange:
        """
        :param body: bytes as they are, anything else in JSON, with its content type; ``None``:
            no body.
        """
        sent = {} if auth is None else {"Authorization": auth}
        if body is not None:
            sent["Content-Type"] = "application/json"
        if not isinstance(body, bytes):
            body = b"" if body is None else json.dumps(body).encode()
        return send(site, method, target, {**sent, **(headers or {})}, body)

    def assertAnswer(self, code: int, body: object, answer: Answer) -> None:
        """An answer in JSON."""
        self.assertEqual((code, body), (answer.code, answer.json))

    def assertError(self, code: int, answer: Answer) -> None:
        """An error that says why, in JSON."""
        self.assertEqual((code, ["error"]), (answer.code, list(answer.json)))

    def assertText(self, code: int, body: str, answer: Answer) -> None:
        """An answer of the legacy API that is not JSON."""
        self.assertEqual((code, body), (answer.code, answer.text))
        self.assertEqual("text/html", answer.headers["content-type"])


class DescribedCase(ApiCase):
    """
    One of the APIs.

    :cvar description: what it may answer.
    :cvar seen: which answers of the description were given, by all tests together.
    """

    description: ClassVar[Description]
    seen: ClassVar[set[tuple[str, str, int]]]

    @property
    def site(self) -> Site:
        """The API's."""
        raise NotImplementedError

    def send(self, *args: Any, **kwargs: Any) -> Exchange:
        """:meth:`send_to` the API."""
        return self.send_to(self.site, *args, **kwargs)

    def ask(self, *args: Any, **kwargs: Any) -> Answer:
        """:meth:`send`, and the answer."""
        answer = self.send(*args, **kwargs).answer()
        example = self.description.check(answer)
        if example:
            self.seen.add(example)
        return answer


class SessionPage(Data):
    """
    A session's page that shows one text, and answers preflights. Its channel has too many tails if
    the client asks for events.
    """

    def render_GET(self, request: Request) -> bytes:
        if request.getHeader("Accept") != "text/event-stream":
            return bytes(super().render_GET(request))
        request.setResponseCode(429)
        request.setHeader("Content-Type", "text/html; charset=utf-8")
        request.setHeader("Retry-After", "10")
        return b"Too many tails of this channel"

    def render_OPTIONS(self, request: Request) -> bytes:
        request.setResponseCode(204)
        return b""


class V3Case(DescribedCase):
    """API v3."""

    description = V3
    seen = set()

    @property
    def site(self) -> Site:
        return self.v3


class LegacyCase(DescribedCase):
    """The legacy API, with a channel 7 like the channel ``app``."""

    description = LEGACY
    seen = set()

    @property
    def site(self) -> Site:
        return self.legacy

    def stored(self) -> Sequence[Value]:
        return (
            *APP,
            Channel("7", "name"),
            Token("t.71", "7", "web", 1),
            Token("t.72", "7", "web", 2),
            Token("t.70", "7", "app", 3),
            Drain(71, "7", "d.71", "http://h1"),
            Drain(72, "7", "d.72", "http://h2/x?y"),
            Drain(73, "7", "d.73"),
            Channel("8"),
        )
