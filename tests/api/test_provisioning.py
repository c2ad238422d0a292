# SPDX-License-Identifier: Apache-2.0

"""Changes to channels, tokens, drains and sessions, and refused ones."""

from __future__ import annotations

from itertools import count
from time import process_time
from typing import Any
from uuid import UUID

from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.task import Clock
from twisted.logger import capturedLogs, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.owners import owner_key, owner_of, parse_owner
from logplex.api.names import check_channel_id, check_token_name, shown_tokens
from logplex.api.provisioning import MAX_SESSION_BYTES, Provisioning
from logplex.api.refusals import (
    BadChannelId,
    BadName,
    DrainExists,
    TooManyDrains,
    TooManyNames,
    TooManySessions,
    TooManyTokens,
    UnknownChannel,
    UnknownDrain,
    UnknownSession,
)
from logplex.interfaces import StoreAway
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.destination import BadDestination
from logplex.model.session import BadSession
from logplex.model.values import AUTH_KEY_HOLDER, NO_TAIL, NOBODY, Channel, Credential, Drain, Put
from logplex.routing.registry import Registry
from logplex.settings import Limits
from logplex.waiting import STORE_TIMEOUT_S
from tests.doubles.interfaces import DictConfigStore, RecordingSpool


class ProvisioningCase(SynchronousTestCase):
    """A store with one channel ``app`` that has no tokens and no drains."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(1_000)
        self.registry = Registry()
        self.counters = Counters()
        self.store = DictConfigStore(self.clock)
        self.spool = RecordingSpool()
        self.limits = Live(Limits(drains_per_channel=2, tokens_per_channel=MAX_TOKENS))
        uuids = map(UUID, (f"{n:032x}" for n in count(1)))
        self.provisioning = Provisioning(
            self.store,
            self.registry,
            self.spool,
            self.clock,
            self.limits,
            self.counters,
            lambda: next(uuids),
        )
        self.successResultOf(self.store.open(self.registry))
        self.successResultOf(self.store.commit([Put(Channel("app", "name", frozenset({NO_TAIL})))]))

    def urls(self) -> list[str | None]:
        return [drain.url for drain in self.registry.drains_of("app")]

    def names(self) -> list[str]:
        return [token.name for token in self.registry.tokens_of("app")]


class NameTests(SynchronousTestCase):
    """The rules for ids and names."""

    def test_good(self) -> None:
        for good in ("a", "app-d23d", "!", "~" * 48):
            self.assertEqual(good, check_channel_id(good))
            self.assertEqual(good, check_token_name(good))
        self.assertEqual("x" * 128, check_channel_id("x" * 128))
        self.assertEqual("a:b/c", check_token_name("a:b/c"))

    def test_bad(self) -> None:
        for bad in ("", " ", "a b", "a\n", "\x7f", "ä", "x" * 129):
            with self.assertRaises(BadChannelId):
                check_channel_id(bad)
            with self.assertRaises(BadName):
                check_token_name(bad)
        for bad in ("a:b", "a/b"):
            with self.assertRaises(BadChannelId):
                check_channel_id(bad)
        with self.assertRaises(BadName):
            check_token_name("x" * 49)


MAX_TOKENS = 1_000
BODY = b'{"channel_id": "app"}'


class ManyTokensTests(ProvisioningCase):
    """The bound on the tokens of a channel."""

    def test_names(self) -> None:
        """At the bound they are taken, above it not, and repeated names count once."""
        names = [f"n{n}" for n in range(MAX_TOKENS)]
        self.successResultOf(self.provisioning.ensure_channel("c", names[:-1]))
        self.successResultOf(self.provisioning.ensure_channel("c", [*names, *names]))
        self.assertEqual(MAX_TOKENS, len(self.registry.tokens_of("c")))
        for too_many in (
            self.provisioning.ensure_channel("c", [*names, "more"]),
            self.provisioning.create_channel("", [*names, "more"]),
        ):
            failure = self.failureResultOf(too_many, TooManyNames)
            self.assertEqual("a channel has at most 1000 tokens", str(failure.value))

    def test_adding(self) -> None:
        names = [f"n{n}" for n in range(MAX_TOKENS - 1)]
        self.successResultOf(self.provisioning.ensure_channel("c", names))
        self.successResultOf(self.provisioning.add_token("c", "last"))
        self.failureResultOf(self.provisioning.add_token("c", "more"), TooManyTokens)

    def test_linear(self) -> None:
        """20,000 names take a moment; a node that compared each with each took a minute."""
        self.limits.now = Limits(tokens_per_channel=20_000)
        names = [f"n{n}" for n in range(20_000)]
        began_s = process_time()
        self.successResultOf(self.provisioning.ensure_channel("c", names))
        self.successResultOf(self.provisioning.ensure_channel("c", names[1:]))
        self.successResultOf(self.provisioning.ensure_channel("c", []))
        self.assertLess(process_time() - began_s, 5)


class EnsureChannelTests(ProvisioningCase):
    """``ensure_channel``"""

    def test_new(self) -> None:
        """A channel that did not exist, with a token for each name."""
        new = self.successResultOf(self.provisioning.ensure_channel("new", ["a", "b", "a"]))
        self.assertTrue(new)
        self.assertEqual(Channel("new"), self.registry.channel("new"))
        self.assertEqual(
            {"a": f"t.{UUID(int=1)}", "b": f"t.{UUID(int=2)}"},
            shown_tokens(self.registry.tokens_of("new")),
        )

    def test_existing(self) -> None:
        """Name and flags stay; kept names keep their token, others go, missing ones come."""
        self.successResultOf(self.provisioning.ensure_channel("app", ["a", "b"]))
        before = shown_tokens(self.registry.tokens_of("app"))
        new = self.successResultOf(self.provisioning.ensure_channel("app", ["c", "b"]))
        after = shown_tokens(self.registry.tokens_of("app"))
        self.assertFalse(new)
        self.assertEqual({"b", "c"}, set(after))
        self.assertEqual(before["b"], after["b"])
        self.assertEqual(Channel("app", "name", frozenset({NO_TAIL})), self.registry.channel("app"))

    def test_without_names(self) -> None:
        """No list leaves the tokens, an empty one deletes them."""
        self.successResultOf(self.provisioning.ensure_channel("app", ["a"]))
        self.successResultOf(self.provisioning.ensure_channel("app", None))
        self.assertEqual(["a"], self.names())
        self.successResultOf(self.provisioning.ensure_channel("app", []))
        self.assertEqual([], self.names())

    def test_unchanged(self) -> None:
        """Nothing is changed, but the store is told of the channel, and can be away."""
        self.successResultOf(self.provisioning.ensure_channel("app", ["a"]))
        self.successResultOf(self.provisioning.add_drain("app", "http://h/"))
        values = dict(self.store.values)
        self.assertFalse(self.successResultOf(self.provisioning.ensure_channel("app", ["a"])))
        self.assertEqual(values, self.store.values)
        self.assertEqual(self.store.channel_id, "app")
        self.store.away = True
        self.failureResultOf(self.provisioning.ensure_channel("app", ["a"]), StoreAway)

    def test_flags(self) -> None:
        """Flags that are given replace those that were."""
        self.successResultOf(self.provisioning.ensure_channel("app", flags=frozenset()))
        self.assertEqual(Channel("app", "name"), self.registry.channel("app"))

    def test_rotation(self) -> None:
        """Both tokens of one name are kept, and the newest is shown."""
        self.successResultOf(self.provisioning.add_token("app", "a"))
        newest = self.successResultOf(self.provisioning.add_token("app", "a"))
        self.successResultOf(self.provisioning.ensure_channel("app", ["a"]))
        self.assertEqual(["a", "a"], self.names())
        self.assertEqual({"a": newest.id}, shown_tokens(self.registry.tokens_of("app")))

    def test_at_once(self) -> None:
        """Two requests that come together leave exactly the set of one of them."""
        self.store.held = []
        first = self.provisioning.ensure_channel("app", ["a", "b"])
        second = self.provisioning.ensure_channel("app", ["b", "c"])
        self.assertEqual(1, len(self.store.held))
        self.store.held.pop().callback(None)
        self.successResultOf(first)
        self.store.held.pop().callback(None)
        self.successResultOf(second)
        self.assertEqual(["b", "c"], self.names())

    def test_channels_do_not_wait_for_each_other(self) -> None:
        """Only changes to the same channel come one after another."""
        self.store.held = []
        self.provisioning.ensure_channel("app", ["a"])
        self.provisioning.ensure_channel("other", ["a"])
        self.assertEqual(2, len(self.store.held))


class CreateChannelTests(ProvisioningCase):
    """``create_channel``"""

    def test_ids(self) -> None:
        """Ids are the next integers that are free."""
        self.successResultOf(self.provisioning.ensure_channel("2"))
        created = [
            self.successResultOf(self.provisioning.create_channel("name", ["a"])) for _ in range(2)
        ]
        self.assertEqual(["1", "3"], [channel.id for channel, _ in created])
        self.assertEqual(Channel("3", "name"), self.registry.channel("3"))
        self.assertEqual(tuple(created[1][1]), self.registry.tokens_of("3"))


class DeleteChannelTests(ProvisioningCase):
    """``delete_channel``"""

    def test_everything_goes(self) -> None:
        """The channel, its tokens, drains and messages."""
        self.successResultOf(self.provisioning.ensure_channel("app", ["a"]))
        self.successResultOf(self.provisioning.add_drain("app", "http://h"))
        self.successResultOf(self.provisioning.delete_channel("app"))
        self.assertEqual({}, self.store.values)
        self.assertEqual(["app"], self.spool.forgotten)

    def test_credentials(self) -> None:
        """Those that are for this channel only go with it."""
        stays = (Credential("all", "x", full_api=True, channel="app"), Credential("none", "x"))
        goes = Credential("one", "x", channel="app")
        self.successResultOf(self.store.commit([Put(each) for each in (*stays, goes)]))
        self.successResultOf(self.provisioning.delete_channel("app"))
        self.assertEqual(set(stays), set(self.registry.credentials()))

    def test_unknown(self) -> None:
        self.failureResultOf(self.provisioning.delete_channel("none"), UnknownChannel)


class TokenTests(ProvisioningCase):
    """``add_token``"""

    def test_unknown_channel(self) -> None:
        self.failureResultOf(self.provisioning.add_token("none", "a"), UnknownChannel)

    def test_bad_name(self) -> None:
        self.failureResultOf(self.provisioning.add_token("app", "a b"), BadName)

    def test_the_store_is_told_of_the_channel(self) -> None:
        """A store that has lost the channel writes it again."""
        self.successResultOf(self.provisioning.add_token("app", "web"))
        self.assertEqual(self.store.channel_id, "app")


class DrainTests(ProvisioningCase):
    """``add_drain``, ``move_drain``, ``delete_drain``"""

    def add(self, url: str) -> Drain:
        return self.successResultOf(self.provisioning.add_drain("app", url))

    def test_add(self) -> None:
        """A drain has the next id, a token of its own, and its URL as it was given."""
        drain = self.add("http://h/?a=b")
        self.assertEqual(Drain(1, "app", f"d.{UUID(int=1)}", "http://h/?a=b"), drain)
        self.assertEqual((drain,), self.registry.drains_of("app"))

    def test_too_many(self) -> None:
        """Reserved drains do not count, but are refused too if there is no room."""
        self.successResultOf(self.provisioning.add_drain("app"))
        self.add("http://h1")
        self.add("http://h2")
        self.failureResultOf(self.provisioning.add_drain("app", "http://h1"), TooManyDrains)
        self.failureResultOf(self.provisioning.add_drain("app"), TooManyDrains)

    def test_too_many_at_once(self) -> None:
        """Requests that come together do not get past the limit."""
        self.store.held = []
        adding = [self.provisioning.add_drain("app", f"http://h{n}") for n in range(3)]
        while self.store.held:
            self.store.held.pop().callback(None)
        self.successResultOf(adding[0])
        self.successResultOf(adding[1])
        self.failureResultOf(adding[2], TooManyDrains)

    def test_double(self) -> None:
        """The same URL twice, also where only one of them names the port."""
        self.add("http://h/x")
        self.failureResultOf(self.provisioning.add_drain("app", "http://h:80/x"), DrainExists)

    def test_same_url_in_another_channel(self) -> None:
        self.add("http://h")
        self.successResultOf(self.provisioning.ensure_channel("other"))
        self.successResultOf(self.provisioning.add_drain("other", "http://h"))

    def test_bad_url(self) -> None:
        self.failureResultOf(self.provisioning.add_drain("app", "ftp://h"), BadDestination)
        self.failureResultOf(self.provisioning.move_drain("app", 1, "ftp://h"), BadDestination)

    def test_move_reserved(self) -> None:
        """A reserved drain gets its URL and keeps its token."""
        reserved = self.successResultOf(self.provisioning.add_drain("app"))
        moved = self.successResultOf(self.provisioning.move_drain("app", reserved.id, "http://h"))
        self.assertEqual((reserved.token, "http://h"), (moved.token, moved.url))
        self.assertEqual(["http://h"], self.urls())

    def test_move_to_where_it_is(self) -> None:
        """A drain can be moved to its own URL."""
        drain = self.add("http://h")
        moved = self.successResultOf(self.provisioning.move_drain("app", drain.id, "http://h"))
        self.assertEqual(drain, moved)

    def test_move_to_a_double(self) -> None:
        self.add("http://h1")
        drain = self.add("http://h2")
        moving = self.provisioning.move_drain("app", drain.id, "http://h1")
        self.failureResultOf(moving, DrainExists)
        self.assertEqual(["http://h1", "http://h2"], self.urls())

    def test_delete(self) -> None:
        drain = self.add("http://h")
        self.successResultOf(self.provisioning.delete_drain("app", drain.id))
        self.assertEqual([], self.urls())

    def test_unknown(self) -> None:
        """No such channel, no such drain, another channel's drain."""
        drain = self.add("http://h")
        self.successResultOf(self.provisioning.ensure_channel("other"))
        for channel_id, drain_id, why in (
            ("none", drain.id, UnknownChannel),
            ("app", 99, UnknownDrain),
            ("other", drain.id, UnknownDrain),
        ):
            self.failureResultOf(self.provisioning.delete_drain(channel_id, drain_id), why)
            moving = self.provisioning.move_drain(channel_id, drain_id, "http://h2")
            self.failureResultOf(moving, why)
        self.failureResultOf(self.provisioning.add_drain("none", "http://h"), UnknownChannel)


class SessionTests(ProvisioningCase):
    """``open_session``, ``end_session``"""

    def test_kept_as_it_came(self) -> None:
        """The JSON is kept byte for byte, for as long as a session lives."""
        body = b'{"channel_id": "app", "mine": 1}'
        session_id = self.successResultOf(self.provisioning.open_session(body, NOBODY))
        self.assertEqual(body, self.successResultOf(self.store.get_session(session_id)))
        self.clock.advance(360)
        self.assertIsNone(self.successResultOf(self.store.get_session(session_id)))

    def test_refused(self) -> None:
        """A body that makes no session, one that is too long, and an unknown channel."""
        self.failureResultOf(self.provisioning.open_session(b"{}", NOBODY), BadSession)
        self.failureResultOf(
            self.provisioning.open_session(BODY + b" " * MAX_SESSION_BYTES, NOBODY),
            BadSession,
        )
        self.failureResultOf(
            self.provisioning.open_session(b'{"channel_id": "none"}', NOBODY), UnknownChannel
        )

    def open(self, caller: Credential = NOBODY, channel_id: str = "app") -> str:
        body = b'{"channel_id": "%b"}' % channel_id.encode()
        return self.successResultOf(self.provisioning.open_session(body, caller))

    def test_owner(self) -> None:
        """A credential of the store owns the session, one of the settings file does not."""
        stored = Credential("one", "secret", channel="app")
        self.successResultOf(self.store.commit([Put(stored)]))
        kept = self.successResultOf(self.store.get_session(owner_key(self.open(stored))))
        self.assertEqual(owner_of(stored, "app"), parse_owner(kept))
        in_file = Credential("one", "other secret", channel="app")
        for caller in (in_file, AUTH_KEY_HOLDER):
            key = owner_key(self.open(caller))
            self.assertIsNone(self.successResultOf(self.store.get_session(key)))

    def test_the_owner_expires_last(self) -> None:
        """Otherwise the session would have no owner for a moment."""
        stored = Credential("one", "secret", channel="app")
        self.successResultOf(self.store.commit([Put(stored)]))
        session_id = self.open(stored)
        ends_at, _ = self.store.sessions[session_id]
        self.assertGreater(self.store.sessions[owner_key(session_id)][0], ends_at)

    def test_end(self) -> None:
        stored = Credential("one", "secret", channel="app")
        self.successResultOf(self.store.commit([Put(stored)]))
        kept, ended = self.open(stored), self.open(stored)
        self.successResultOf(self.provisioning.end_session(ended, stored))
        self.assertEqual({kept, owner_key(kept)}, set(self.store.sessions))
        again = self.provisioning.end_session(ended, stored)
        self.failureResultOf(again, UnknownSession)

    def test_end_of_another_channel(self) -> None:
        """A credential of one channel learns nothing about the sessions of others."""
        session_id = self.open()
        for caller in (NOBODY, Credential("other", "", channel="other")):
            ending = self.provisioning.end_session(session_id, caller)
            self.failureResultOf(ending, UnknownSession)
        ending = self.provisioning.end_session(owner_key(session_id), AUTH_KEY_HOLDER)
        self.failureResultOf(ending, UnknownSession)
        self.assertIn(session_id, self.store.sessions)

    def test_end_with_their_channel(self) -> None:
        """They must not open a later channel of the same id."""
        self.successResultOf(self.provisioning.ensure_channel("other"))
        self.open()
        other = self.open(channel_id="other")
        self.successResultOf(self.provisioning.delete_channel("app"))
        self.assertEqual([other], list(self.store.sessions))

    def test_opened_while_its_channel_is_deleted(self) -> None:
        """The session ends, though it was not there yet when the channel's sessions ended."""
        storing: Deferred[None] = Deferred()
        put_session = DictConfigStore.put_session

        def put_later(*arguments: Any) -> Deferred[None]:
            return storing.addCallback(lambda _: put_session(*arguments))

        self.patch(DictConfigStore, "put_session", put_later)
        opening = self.provisioning.open_session(BODY, NOBODY)
        self.successResultOf(self.provisioning.delete_channel("app"))
        storing.callback(None)
        self.failureResultOf(opening, UnknownChannel)
        self.assertEqual({}, self.store.sessions)

    def test_a_channel_stays_if_its_sessions_cannot_be_ended(self) -> None:
        self.patch(DictConfigStore, "end_sessions", lambda *_: fail(StoreAway("away")))
        self.failureResultOf(self.provisioning.delete_channel("app"), StoreAway)
        self.assertIsNotNone(self.registry.channel("app"))

    def test_bound(self) -> None:
        """The bound on sessions holds for each channel by itself."""
        self.limits.now = Limits(sessions_per_channel=3)
        self.successResultOf(self.provisioning.ensure_channel("other"))
        with capturedLogs() as events:
            for _ in range(3):
                self.open()
            self.clock.advance(60)
            for _ in range(3):
                failure = self.failureResultOf(
                    self.provisioning.open_session(BODY, NOBODY), TooManySessions
                )
        self.assertEqual(300, failure.value.retry_after_s)
        self.assertEqual(3, self.counters.sessions_refused)
        self.assertEqual(
            ["channel app has 3 sessions, [limits] sessions_per_channel: further ones are refused"],
            [formatEvent(event) for event in events],
        )
        self.open(channel_id="other")
        self.clock.advance(300)
        self.open()

    def test_none_allowed(self) -> None:
        self.limits.now = Limits(sessions_per_channel=0)
        self.failureResultOf(self.provisioning.open_session(BODY, NOBODY), TooManySessions)


class StoreTests(ProvisioningCase):
    """Verbs while the store is away."""

    def test_away(self) -> None:
        self.store.away = True
        self.failureResultOf(self.provisioning.ensure_channel("new"), StoreAway)

    def test_silent(self) -> None:
        """
        A store that does not answer counts as away. Who waited for another change is gone, but
        the change that is on its way is waited for.
        """
        self.store.held = []
        first, second = (self.provisioning.ensure_channel("app", [name]) for name in "ab")
        self.clock.advance(STORE_TIMEOUT_S)
        for each in (first, second):
            self.failureResultOf(each, StoreAway)
        third = self.provisioning.ensure_channel("app", ["a", "c"])
        self.store.held.pop().callback(None)
        self.assertEqual(["a"], self.names())
        self.store.held.pop().callback(None)
        self.successResultOf(third)
        self.assertEqual(["a", "c"], self.names())
        self.assertEqual([], self.store.held)
        self.assertEqual({}, self.provisioning._locks._locks)

    def test_client_left(self) -> None:
        """A change that is on its way is known when it is made, though its client has left."""
        self.store.held = []
        adding = self.provisioning.add_drain("app", "http://h1")
        adding.cancel()
        self.failureResultOf(adding, CancelledError)
        next = self.provisioning.add_drain("app", "http://h1")
        self.store.held.pop().callback(None)
        self.assertEqual(["http://h1"], self.urls())
        self.failureResultOf(next, DrainExists)
