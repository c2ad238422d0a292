# SPDX-License-Identifier: Apache-2.0

"""The sessions of open tails: kept alive, and watched for their end."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.owners import owner_key, owner_of
from logplex.model.values import Credential, Delete, Put
from tests.doubles.session_node import SESSION, Connection, SessionNode, line

LIFETIME_S = 360.0


class RenewalTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.node = SessionNode()

    def pass_time(self, seconds: float) -> None:
        self.node.clock.pump([1.0] * int(seconds))

    def status(self) -> int:
        connection = self.node.get(b"Accept: text/event-stream")
        status = connection.answer().status
        connection.leave()
        return status

    def test_a_client_that_is_cut_after_an_hour_finds_its_session(self) -> None:
        self.node.put_session(tail=True)
        connection = self.node.events()
        self.node.append(b"one")
        self.pass_time(3_600)
        connection.leave()
        self.node.append(b"two")
        number = int(connection.body.split(b"id: ")[1].split(b"\n")[0])
        resumed = self.node.events(b"Last-Event-ID: %d" % number)
        self.assertEqual(200, resumed.answer().status)
        self.assertIn(line(b"two"), resumed.body)

    def test_eight_clients_of_one_session(self) -> None:
        self.node.put_session(tail=True)
        connections = [self.node.events() for _ in range(8)]
        self.pass_time(500)
        for connection in connections[:4]:
            connection.leave()
        self.pass_time(500)
        self.assertEqual([200] * 4, [self.status() for _ in range(4)])
        for connection in connections[4:]:
            self.assertFalse(connection.is_closed)

    def test_plain_text_too(self) -> None:
        self.node.open(tail=True)
        self.pass_time(1_000)
        self.assertEqual(200, self.status())

    def test_the_lifetime_begins_anew_when_the_last_client_leaves(self) -> None:
        connection = self.node.open(tail=True)
        self.pass_time(100)
        connection.leave()
        self.pass_time(1 + LIFETIME_S - 2)
        self.assertEqual(200, self.node.get(method=b"HEAD").answer().status)
        self.pass_time(2)
        self.assertEqual(404, self.status())

    def test_a_session_that_is_not_streamed_ends(self) -> None:
        self.node.put_session()
        self.pass_time(300)
        self.assertEqual(200, self.status())
        self.pass_time(60)
        self.assertEqual(404, self.status())

    def test_a_stopping_node_renews_its_sessions(self) -> None:
        self.node.open(tail=True)
        self.pass_time(100)
        stopped = Deferred.fromCoroutine(self.node.tails.stop())
        self.pass_time(LIFETIME_S - 1)
        self.successResultOf(stopped)
        self.assertEqual(200, self.node.get(method=b"HEAD").answer().status)

    def test_no_timer_is_left_over(self) -> None:
        self.node.open(tail=True).leave()
        self.pass_time(2)
        self.assertEqual([], self.node.clock.getDelayedCalls())

    def test_the_store_is_away_for_a_while(self) -> None:
        connection = self.node.open(tail=True)
        self.pass_time(100)
        self.node.store.away = True
        self.pass_time(200)
        self.node.store.away = False
        self.pass_time(200)
        self.assertFalse(connection.is_closed)
        self.assertEqual(200, self.status())

    def test_a_node_that_stops_while_the_store_is_away(self) -> None:
        self.node.open(tail=True)
        self.node.store.away = True
        stopped = Deferred.fromCoroutine(self.node.tails.stop())
        self.pass_time(2)
        self.successResultOf(stopped)
        self.assertEqual([], self.node.clock.getDelayedCalls())


class EndedTests(SynchronousTestCase):
    """A session is ended while nodes stream it."""

    def setUp(self) -> None:
        self.node = SessionNode()
        self.node.put_session(tail=True)
        self.other = SessionNode(store=self.node.store)

    def assert_ended(self, *connections: Connection) -> None:
        self.node.clock.pump([1.0] * 2)
        for connection in connections:
            self.assertTrue(connection.answer().is_whole)
            self.assertTrue(connection.is_closed)

    def test_its_tails_end_within_2_s_on_every_node(self) -> None:
        connections = self.node.get(), self.node.events(), self.other.events()
        self.node.clock.pump([1.0] * 30)
        self.node.store.end_session(SESSION)
        self.assert_ended(*connections)
        self.assertEqual(404, self.other.get().answer().status)

    def test_all_sessions_of_a_channel(self) -> None:
        connection = self.other.events()
        self.node.store.end_sessions("app-1")
        self.assert_ended(connection)

    def test_other_sessions_go_on(self) -> None:
        other_id = "11111111-1111-1111-1111-111111111111"
        self.node.store.put_session(other_id, b'{"channel_id": "app-1", "tail": true}', 360.0)
        ended = self.node.events()
        others = self.node.get(path=b"/sessions/" + other_id.encode())
        self.node.store.end_session(SESSION)
        self.assert_ended(ended)
        self.assertFalse(others.is_closed)

    def own(self) -> Credential:
        """Give the session an owner, and return it."""
        credential = Credential("one", "secret", channel="app-1")
        self.node.registry.changed([Put(credential)])
        owner = owner_of(credential, "app-1").body()
        self.node.store.put_session(owner_key(SESSION), owner, 420.0)
        return credential

    def test_a_session_ends_with_its_owner(self) -> None:
        """When the credential that opened it is deleted, or gets another password."""
        credential = self.own()
        for change in (
            Delete(Credential, "one"),
            Put(evolve(credential, secret="other")),
            Put(evolve(credential, channel="app-2")),
        ):
            self.node.registry.changed([Put(credential)])
            connection = self.node.open(tail=True)
            self.node.clock.advance(1)
            self.assertFalse(connection.is_closed)
            self.node.registry.changed([change])
            self.assert_ended(connection)
            self.assertEqual(404, self.node.get().answer().status)

    def test_an_owned_session_is_kept_with_its_owner(self) -> None:
        """The owner must not expire before its session: nothing would end that."""
        self.own()
        self.node.open(tail=True)
        for _ in range(1_000):
            self.node.clock.advance(1)
        self.assertEqual(200, self.node.get().answer().status)
        ends_at, _ = self.node.store.sessions[SESSION]
        self.assertGreaterEqual(self.node.store.sessions[owner_key(SESSION)][0], ends_at)

    def test_an_ended_session_is_not_renewed(self) -> None:
        connection = self.node.events()
        self.node.store.end_session(SESSION)
        connection.leave()
        self.node.clock.pump([1.0] * 3)
        self.assertEqual({}, self.node.store.sessions)
