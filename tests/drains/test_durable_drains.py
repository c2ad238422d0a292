# SPDX-License-Identifier: Apache-2.0

"""
Durable drains: messages wait in the journal, and outlive a receiver that is away and a restart.
"""

from __future__ import annotations

from attrs import evolve

from logplex.drains.delivery.buffer import Buffer
from logplex.drains.service import DrainService
from logplex.interfaces import DurableStatus
from logplex.live import Live
from logplex.settings import Limits
from tests.doubles.http_drain import OK, Request, answer
from tests.doubles.interfaces import as_reactor
from tests.doubles.journal import Disk, copy_of_crashed, opened_journal
from tests.doubles.receivers import Link, MiddleRandom
from tests.drains.test_service import DRAIN, OTHER, ServiceCase, message

DURABLE = evolve(DRAIN, durable=True)
TICK_S = 0.05


def numbers(request: Request) -> list[int]:
    """The numbers of the messages in a request."""
    return [int(line.rsplit(b" ", 1)[1]) for line in request.body.splitlines() if line]


class DurableCase(ServiceCase):
    """A node with a journal in a file, on a disk that can be full."""

    def setUp(self) -> None:
        super().setUp()
        self.disk = Disk()
        self.path = self.mktemp()
        self.begin()

    def begin(self) -> None:
        """Run the drains of the registry with the present journal."""
        self.journal = opened_journal(self.path, self.clock, self.disk)
        self.router.take = self.journal.take
        self.service = DrainService(
            self.registry,
            self.router.tell,
            self.counters,
            self.options,
            limits=Live(Limits()),
            reactor=as_reactor(self.clock),
            random=MiddleRandom(1),
            connect_to=self.endpoint,
            journal=self.journal,
        )
        self.registry._drain_observers.clear()
        self.service.start()
        self.journal.end_others()

    def kill(self) -> None:
        """Continue as a new process after a ``kill -9``."""
        stream = self.registry.stream("app")
        assert stream is not None
        stream.outlets = ()
        self.registry.keep_in("app", None)
        copy = self.mktemp()
        copy_of_crashed(self.path, copy)
        self.path = copy
        self.endpoints.clear()
        self.begin()

    def arrive(self, count: int = 1) -> None:
        """Messages come, and a tick passes."""
        self.push(count)
        self.clock.advance(TICK_S)
        self.clock.advance(0)

    def link(self, after_s: float = 0.0) -> Link:
        """The next connection to the receiver ``one``."""
        self.clock.advance(after_s)
        return self.receiver("one").accept()

    def say(self, link: Link, answered: bytes) -> None:
        link.say(answered)
        self.clock.advance(0)

    def arrived_at_last(self) -> list[int]:
        """Accept all that the drain sends from now on, and return the messages' numbers."""
        got: list[int] = []
        link = self.link(100)
        for _ in range(100):
            octets = link.received()
            if not octets:
                break
            got += numbers(Request(octets))
            self.say(link, OK)
            self.clock.advance(0.3)
        return got

    def next_request(self, link: Link) -> Request:
        """The next request over a connection."""
        self.clock.advance(0.3)
        return Request(link.received())


class DeliveryTests(DurableCase):
    def test_in_order_and_once(self) -> None:
        self.put(DURABLE)
        self.arrive(3)
        link = self.link()
        self.assertEqual(numbers(Request(link.received())), [1, 2, 3])
        self.arrive(2)
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [4, 5])
        self.say(link, OK)
        status = self.service.status(1)
        assert status is not None
        self.assertEqual((status.delivered, status.buffered, status.dropped), (5, 0, 0))

    def test_a_restart_repeats_the_same_request(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        first = Request(self.link().received())
        self.kill()
        again = Request(self.link().received())
        self.assertEqual((again.body, again.frame_id), (first.body, first.frame_id))

    def test_a_restart_repeats_a_joined_request(self) -> None:
        self.put(DURABLE)
        self.arrive()
        link = self.link()
        link.received()
        for _ in range(5):
            self.arrive()
        self.say(link, OK)
        joined = self.next_request(link)
        self.assertEqual(numbers(joined), [2, 3, 4, 5, 6])
        self.arrive()
        self.kill()
        link = self.link()
        again = Request(link.received())
        self.assertEqual((again.body, again.frame_id), (joined.body, joined.frame_id))
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [7])

    def test_what_was_delivered_does_not_come_again(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        self.say(self.link(), OK)
        self.clock.advance(TICK_S)
        self.kill()
        self.arrive()
        self.assertEqual(numbers(Request(self.link().received())), [3])

    def test_hours_without_a_receiver_cost_nothing(self) -> None:
        self.put(DURABLE)
        self.arrive()
        link = self.link()
        link.received()
        self.say(link, answer(503))
        for _ in range(20):
            self.arrive(500)
        self.assertEqual(self.counters.drain_dropped, 0)
        got: list[int] = []
        link = self.link(100)
        while len(got) < 10_001:
            request = self.next_request(link)
            got += numbers(request)
            self.say(link, OK)
        self.assertEqual(got, list(range(1, 10_002)))

    def test_two_drains_share_the_messages(self) -> None:
        self.put(DURABLE, evolve(OTHER, durable=True))
        self.arrive(2)
        self.assertEqual(len(self.disk.transactions[-1].rows), 1)
        one, two = self.link(), self.receiver("two").accept()
        first, second = Request(one.received()), Request(two.received())
        self.assertEqual(numbers(first), numbers(second))
        self.assertNotEqual(first.frame_id, second.frame_id)

    def test_denied_deliveries_let_the_position_stand(self) -> None:
        self.put(DURABLE)
        self.arrive()
        link = self.link()
        link.received()
        self.service.hold(True)
        self.say(link, OK)
        self.arrive(2)
        self.clock.advance(1)
        self.assertEqual(link.received(), b"")
        self.service.hold(False)
        self.clock.advance(1)
        self.assertEqual(numbers(Request(link.received())), [2, 3])

    def test_a_deleted_drain_is_forgotten(self) -> None:
        self.put(DURABLE)
        self.arrive()
        link = self.link()
        link.received()
        self.delete(DURABLE)
        self.say(link, OK)
        self.clock.advance(10)
        self.arrive()
        self.assertEqual(self.disk.transactions[-1].positions, {"1": None})

    def test_without_a_journal_it_is_unusable(self) -> None:
        service = DrainService(
            self.registry,
            self.router.tell,
            self.counters,
            self.options,
            limits=Live(Limits()),
            reactor=as_reactor(self.clock),
        )
        self.registry.changed([])
        service.drain_put(DURABLE)
        self.put(DURABLE)
        status = service.status(1)
        assert status is not None
        self.assertEqual(status.state, "unusable")
        self.assertIn("no journal", status.last_error or "")


class StatusTests(DurableCase):
    def lag(self) -> tuple[int, int, float | None, int, int]:
        status = self.service.status(1)
        assert isinstance(status, DurableStatus)
        return (
            status.lag_messages,
            status.lag_bytes,
            status.lag_s and round(status.lag_s, 1),
            status.in_flight,
            status.set_aside,
        )

    def test_lag(self) -> None:
        self.put(DURABLE)
        self.assertEqual(self.lag(), (0, 0, None, 0, 0))
        self.arrive(2)
        link = self.link()
        self.clock.advance(1.9)
        self.arrive()
        size = len(message(1))
        self.assertEqual(self.lag(), (3, 3 * size, 2.0, 2, 0))
        self.say(link, OK)
        self.next_request(link)
        self.assertEqual(self.lag(), (1, size, 0.3, 1, 0))
        self.say(link, answer(400))
        self.clock.advance(10)
        self.assertEqual(self.lag(), (1, 0, 10.3, 0, 1))
        self.assertEqual(self.samples("logplex_drain_set_aside"), {"1": 1})
        self.assertAlmostEqual(self.samples("logplex_drain_lag_seconds")["1"], 10.3)

    def test_it_has_an_age_before_its_messages_are_claimed(self) -> None:
        """The buffer of the ordinary drain goes first, for however long its receiver is away."""
        self.put(DRAIN)
        self.push()
        self.put(DURABLE)
        self.arrive()
        self.clock.advance(100)
        self.assertEqual(self.lag(), (1, len(message(2)), 100.0, 0, 0))


class RefusalTests(DurableCase):
    def test_a_4xx_is_tried_again(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        link = self.link()
        first = Request(link.received())
        for _ in range(4):
            self.say(link, answer(401))
            link = self.link(100)
            again = Request(link.received())
            self.assertEqual((again.body, again.frame_id), (first.body, first.frame_id))
        self.say(link, OK)
        self.assertEqual(self.counters.drain_delivered, 2)

    def test_one_bad_message_is_set_aside_and_tried_once_more(self) -> None:
        self.put(DURABLE)
        self.arrive(1)
        link = self.link()
        link.received()
        self.say(link, answer(400))
        self.arrive(1)
        self.assertEqual(numbers(self.next_request(link)), [2])
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [1])
        self.say(link, answer(400))
        self.arrive(1)
        # Its receiver is told of the loss, then gets the rest.
        notice = self.next_request(link)
        self.assertIn(b"1 messages dropped", notice.body)
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [3])
        self.assertEqual((self.counters.drain_delivered, self.counters.drain_dropped), (1, 1))

    def test_a_wrong_key_costs_no_message(self) -> None:
        self.put(DURABLE)
        link: Link | None = None
        for _ in range(10):
            self.arrive()
            link = link or self.link()
            request = self.next_request(link)
            self.say(link, answer(400))
        self.assertEqual(numbers(request), [10])
        link = self.link(100)
        self.assertEqual(numbers(Request(link.received()))[0], 1)
        self.say(link, OK)
        self.assertEqual(self.counters.drain_delivered, 10)
        self.assertEqual(self.counters.drain_dropped, 0)

    def test_a_wrong_key_costs_no_message_of_a_large_batch(self) -> None:
        self.put(DURABLE)
        self.arrive(30)
        link = self.link()
        for _ in range(100):
            if not link.received():
                break
            self.say(link, answer(400))
            self.clock.advance(0.3)
        self.assertEqual(self.arrived_at_last(), list(range(1, 31)))
        self.assertEqual(self.counters.drain_dropped, 0)

    def test_what_was_set_aside_outlives_a_restart(self) -> None:
        self.put(DURABLE)
        self.arrive(1)
        link = self.link()
        link.received()
        self.say(link, answer(422))
        self.clock.advance(TICK_S)
        self.kill()
        self.arrive(1)
        link = self.link()
        self.assertEqual(numbers(Request(link.received())), [2])
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [1])

    def test_halves_have_ids_that_a_restart_repeats(self) -> None:
        self.put(DURABLE)
        self.arrive(4)
        link = self.link()
        link.received()
        self.say(link, answer(413))
        first = self.next_request(link)
        self.assertEqual(numbers(first), [1, 2])
        self.say(link, OK)
        second = self.next_request(link)
        self.clock.advance(TICK_S)
        self.kill()
        again = Request(self.link().received())
        self.assertEqual(numbers(again), [3, 4])
        self.assertEqual(again.frame_id, second.frame_id)


class ChangeTests(DurableCase):
    def test_becoming_durable_loses_nothing(self) -> None:
        self.put(DRAIN)
        self.push(2)
        link = self.link()
        self.assertEqual(numbers(Request(link.received())), [1, 2])
        self.push(2)
        self.put(DURABLE)
        self.arrive(2)
        self.say(link, OK)
        self.assertEqual(numbers(self.next_request(link)), [3, 4])
        self.say(link, OK)
        self.clock.advance(1)
        self.assertEqual(numbers(Request(self.link().received())), [5, 6])

    def test_becoming_ordinary_loses_nothing(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        link = self.link()
        self.assertEqual(numbers(Request(link.received())), [1, 2])
        self.arrive(2)
        self.put(DRAIN)
        self.arrive(2)
        got: list[int] = []
        self.say(link, OK)
        while len(got) < 4:
            self.clock.advance(0.3)
            octets = link.received()
            if not octets:
                self.clock.advance(1)
                link = self.receiver("one").accept()
                octets = link.received()
            got += numbers(Request(octets))
            self.say(link, OK)
        self.assertEqual(got, [3, 4, 5, 6])
        self.push(1)
        self.clock.advance(1)
        stream = self.registry.stream("app")
        assert stream is not None
        self.assertIsNone(stream.journal)
        self.assertEqual(len(stream.outlets), 1)

    def test_a_change_of_mind_is_followed(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        link = self.link()
        self.put(DRAIN)
        self.put(evolve(DURABLE, url=OTHER.url))
        self.put(evolve(DRAIN, url=OTHER.url))
        self.say(link, OK)
        self.clock.advance(TICK_S)
        self.push(1)
        self.clock.advance(1)
        stream = self.registry.stream("app")
        assert stream is not None
        self.assertIsNone(stream.journal)

    def finish_at(self, link: Link) -> list[int]:
        """Accept everything for some seconds, while messages come; return their numbers."""
        got: list[int] = []
        for _ in range(20):
            self.arrive()
            octets = link.received()
            if octets:
                got += numbers(Request(octets))
                self.say(link, OK)
            elif link.closed or self.endpoints["one"].attempts:
                link = self.receiver("one").accept()
            self.clock.advance(0.3)
        return got

    def test_beside_another_durable_drain_nothing_comes_twice(self) -> None:
        self.put(DURABLE)
        self.put(evolve(DURABLE, id=2, token="d.2", url=OTHER.url))
        self.arrive(2)
        link = self.link()
        self.put(DRAIN)
        self.push(1)
        got = self.finish_at(link)
        self.assertEqual(got, list(range(1, len(got) + 1)))
        self.assertGreater(len(got), 15)
        self.assertIsInstance(self.service._running[1].buffer, Buffer)

    def test_becoming_ordinary_outlives_a_restart(self) -> None:
        self.put(DURABLE)
        self.arrive(2)
        self.link()
        self.put(DRAIN)
        self.clock.advance(TICK_S)
        self.kill()
        got = self.finish_at(self.link())
        self.assertEqual(got, list(range(1, len(got) + 1)))
        self.assertIsInstance(self.service._running[1].buffer, Buffer)

    def test_becoming_ordinary_tries_what_is_set_aside(self) -> None:
        self.put(DURABLE)
        self.arrive(1)
        link = self.link()
        link.received()
        self.say(link, answer(400))
        self.put(DRAIN)
        self.clock.advance(0.3)
        self.assertEqual(self.finish_at(link)[:3], [1, 2, 3])
        self.assertIsInstance(self.service._running[1].buffer, Buffer)

    def test_becoming_durable_beside_another_durable_drain_doubles_nothing(self) -> None:
        """The messages of the present tick are in the buffer of the ordinary drain too."""
        self.put(evolve(DURABLE, id=2, token="d.2", url=OTHER.url))
        self.put(DRAIN)
        self.push(2)
        link = self.link()
        self.put(DURABLE)
        self.push(1)
        self.clock.advance(TICK_S)
        status = self.service.status(1)
        assert status is not None
        self.assertEqual(status.buffered, 1)
        got = self.finish_at(link)
        self.assertEqual(got, list(range(1, len(got) + 1)))
        self.assertGreater(len(got), 15)
