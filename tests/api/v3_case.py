"""API v3 over memory, every answer held against its description."""

from __future__ import annotations

import json
from base64 import b64encode
from itertools import count
from typing import Any, ClassVar
from uuid import UUID

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.api.provisioning import Provisioning
from logplex.api.v3_site import v3_site
from logplex.authentication import Authenticator
from logplex.config import Limits, Spool, Urls
from logplex.metrics import Counters
from logplex.model import ANY_CHANNEL, Channel, Credential, Drain, Put, Token
from logplex.registry import Registry
from logplex.rods import Rods
from logplex.store.memory_spool import MemorySpool
from tests.api.exchange import Answer, Exchange, send
from tests.api.openapi import check
from tests.fakes import DictConfigStore

AUTH_KEY = "auth:key"

FULL = Credential("full", "secret", full_api=True)
ANY = Credential("any", "secret", channel=ANY_CHANNEL)
ONE = Credential("one", "secret", channel="app")

#: What the store holds at the start.
APP = (
    Channel("app", "name"),
    Token("t.old", "app", "web", 1),
    Token("t.new", "app", "web", 2),
    Drain(1, "app", "d.1", "http://h1"),
    Drain(2, "app", "d.2", "http://h2"),
    Drain(3, "app", "d.reserved"),
    Channel("empty"),
)


def basic(user: str, password: str = "secret") -> str:
    return "Basic " + b64encode(f"{user}:{password}".encode()).decode()


class V3Case(SynchronousTestCase):
    """
    A node that serves API v3.

    :cvar seen: which answers of the description were given, by all tests together.
    """

    seen: ClassVar[set[tuple[str, str, int]]] = set()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000)
        self.registry = Registry()
        self.rods = Rods()
        self.store = DictConfigStore(self.clock)
        self.spool = MemorySpool(Spool(), self.clock, Counters())
        uuids = map(UUID, (f"{n:032x}" for n in count(1)))
        provisioning = Provisioning(
            self.store, self.registry, self.spool, self.clock, 6, 360.0, lambda: next(uuids)
        )
        self.site = v3_site(
            provisioning,
            self.registry,
            self.spool,
            Authenticator(self.registry, [FULL, ANY, ONE], AUTH_KEY),
            self.rods,
            Urls("http://api", "http://v3"),
            Limits(),
            self.clock,
        )
        self.store.counters["drain_index"] = 3
        self.store.values = {(type(value), value.id): value for value in APP}
        self.successResultOf(self.store.open(self.registry))

    def put(self, *values: Any) -> None:
        """Store values."""
        self.successResultOf(self.store.commit([Put(value) for value in values]))

    def send(
        self,
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
        return send(self.site, method, target, {**sent, **(headers or {})}, body)

    def ask(self, *args: Any, **kwargs: Any) -> Answer:
        """:meth:`send`, and the answer."""
        answer = self.send(*args, **kwargs).answer()
        example = check(answer)
        if example:
            self.seen.add(example)
        return answer

    def assertAnswer(self, code: int, body: object, answer: Answer) -> None:
        self.assertEqual((code, body), (answer.code, answer.json))

    def assertError(self, code: int, answer: Answer) -> None:
        """An error that says why, in JSON."""
        self.assertEqual((code, ["error"]), (answer.code, list(answer.json)))
