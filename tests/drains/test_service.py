# SPDX-License-Identifier: Apache-2.0

"""All drains of a node: they follow the registry, and cost each other nothing."""

from __future__ import annotations

from collections import defaultdict
from typing import Any, cast

from attrs import evolve
from twisted.internet.error import ConnectionRefusedError as ConnectRefused
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from logplex.drains.network.errors import CertificateRejected, DestinationDenied
from logplex.drains.network.resolver import Resolver
from logplex.drains.service import DrainService
from logplex.interfaces import IDrainObserver
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import Channel, Delete, Drain, Put, Token
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import DrainSettings, FirehoseSettings, Limits
from tests.doubles.http_drain import OK, Request, answer
from tests.doubles.interfaces import RecordingSpool, as_reactor
from tests.doubles.receivers import MiddleRandom, ScriptedEndpoint
from tests.doubles.resolver import HeldPool
from tests.doubles.stream_drain import NOW

DRAIN = Drain(1, "app", "d.1", "http://one.example/")
OTHER = Drain(2, "app", "d.2", "http://two.example/")


def message(number: int) -> bytes:
    return b"<190>1 2026-11-22T15:59:59+00:00 web-7 t.1 web.1 id - number %d\n" % number


class ServiceCase(SynchronousTestCase):
    """A node with one channel ``app``, fed with the token ``t.1``."""

    options = DrainSettings()

    def setUp(self) -> None:
        self.clock = Clock()
        self.clock.advance(NOW)
        self.counters = Counters()
        self.registry = Registry()
        self.spool = RecordingSpool()
        rods = Live(Rods())
        self.router = Router(
            self.registry,
            self.spool,
            rods,
            self.counters,
            clock=self.clock,
            limits=Live(Limits()),
            firehose=Firehose(FirehoseSettings(), self.registry, rods, MiddleRandom(1)),
        )
        self.endpoints: dict[str, ScriptedEndpoint] = defaultdict(ScriptedEndpoint)
        self.service = DrainService(
            self.registry,
            self.router.tell,
            self.counters,
            self.options,
            limits=Live(Limits()),
            reactor=as_reactor(self.clock),
            random=MiddleRandom(1),
            connect_to=self.endpoint,
        )
        self.registry.changed([Put(Channel("app")), Put(Token("t.1", "app", "web"))])
        self.service.start()
        self.pushed = 0

    def endpoint(self, host: str, port: int) -> IStreamClientEndpoint:
        endpoint: IStreamClientEndpoint = self.endpoints[f"{host}:{port}"]
        return endpoint

    def put(self, *drains: Drain) -> None:
        self.registry.changed([Put(drain) for drain in drains])

    def delete(self, drain: Drain) -> None:
        self.registry.changed([Delete(Drain, drain.id)])

    def push(self, count: int = 1) -> None:
        first = self.pushed + 1
        self.pushed += count
        self.router.route([message(number) for number in range(first, first + count)])
        self.clock.advance(0)

    def receiver(self, name: str) -> ScriptedEndpoint:
        return self.endpoints[f"{name}.example:80"]

    def samples(self, name: str) -> dict[str, float]:
        """By the value of the last label."""
        return {
            ["", *sample.labels.values()][-1]: sample.value
            for sample in (*self.service.samples(), *self.service.drain_samples())
            if sample.name == name and sample.value
        }

    def notices(self) -> list[bytes]:
        """Return the notices in the spool."""
        return [
            each.split(b" - - ", 1)[1]
            for _, messages, _ in self.spool.appended
            for each in messages
            if b" heroku logplex " in each
        ]


class Following(ServiceCase):
    def test_observer(self) -> None:
        verifyObject(IDrainObserver, self.service)

    def test_new_drain(self) -> None:
        """A drain gets what its channel receives from now on."""
        self.push()
        self.put(DRAIN)
        self.push()
        link = self.receiver("one").accept()
        self.assertIn(b"number 2\n", Request(link.received()).body)

    def test_drains_that_were_there(self) -> None:
        """A service that starts runs what the registry knows."""
        registry = Registry()
        registry.changed([Put(Channel("app")), Put(DRAIN)])
        service = DrainService(
            registry,
            self.router.tell,
            self.counters,
            DrainSettings(),
            limits=Live(Limits()),
            reactor=as_reactor(self.clock),
        )
        service.start()
        stream = registry.stream("app")
        assert stream is not None
        self.assertEqual(len(stream.outlets), 1)

    def test_reserved(self) -> None:
        """A reserved drain does nothing until it has a URL."""
        self.put(evolve(DRAIN, url=None))
        self.push()
        self.assertEqual(self.samples("logplex_drains"), {})
        self.put(DRAIN)
        self.push()
        link = self.receiver("one").accept()
        self.assertEqual(Request(link.received()).count, 1)

    def test_every_drain_gets_every_message(self) -> None:
        self.put(DRAIN, OTHER)
        self.push(3)
        for name in ("one", "two"):
            self.assertEqual(Request(self.receiver(name).accept().received()).count, 3)

    def test_deleted(self) -> None:
        """A drain that is deleted sends what it holds, and gets nothing more."""
        self.put(DRAIN)
        self.push(2)
        self.delete(DRAIN)
        self.push()
        link = self.receiver("one").accept()
        self.assertEqual(Request(link.received()).count, 2)
        link.say(OK)
        self.assertTrue(link.closed)
        self.assertEqual(self.counters.drain_delivered, 2)

    def test_deleted_in_vain(self) -> None:
        """Messages that it cannot send within the bound are lost, counted and told."""
        self.put(DRAIN)
        self.push(2)
        self.delete(DRAIN)
        self.clock.advance(5)
        self.assertEqual(self.counters.drain_dropped, 2)
        self.assertEqual(self.samples("logplex_drains_buffered"), {})
        [notice] = [each for each in self.notices() if b"L10" in each]
        self.assertIn(b"drain 'd.1' dropped 2 messages", notice)

    def test_unusable_url(self) -> None:
        """A URL that the APIs would have refused (others write into the store too) is logged
        without its secrets, and costs the others nothing."""
        self.put(evolve(DRAIN, url="gopher://user:secret@host/"), OTHER)
        self.put(evolve(DRAIN, id=3, token="d.\r\nX-Evil: 1"))
        self.push()
        self.assertEqual(Request(self.receiver("two").accept().received()).count, 1)
        self.assertEqual(sum(self.samples("logplex_drains").values()), 1)

    def test_url_becomes_unusable(self) -> None:
        self.put(DRAIN)
        self.put(evolve(DRAIN, url="gopher://host/"))
        self.assertEqual(self.samples("logplex_drains"), {})

    def test_kinds(self) -> None:
        """A drain's URL decides how its messages travel."""
        self.put(evolve(DRAIN, url="syslog://one.example:80"))
        self.push()
        self.assertIn(b" d.1 web web.1 - - number 1\n", self.receiver("one").accept().received())

    def test_same_again(self) -> None:
        """A reload that changes nothing does not touch a drain."""
        self.put(DRAIN)
        self.push()
        link = self.receiver("one").accept()
        self.service.drain_put(DRAIN)
        self.assertFalse(link.closed)


class Moving(ServiceCase):
    def test_resting(self) -> None:
        self.put(DRAIN)
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.push()
        self.assertEqual(self.receiver("one").attempts, [])
        request = Request(self.receiver("new").accept().received())
        self.assertEqual(request.headers[b"logplex-drain-token"], b"d.1")

    def test_buffer(self) -> None:
        """Buffered messages go to the new receiver."""
        self.put(DRAIN)
        self.push(3)
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.clock.advance(0)
        request = Request(self.receiver("new").accept().received())
        self.assertEqual(request.count, 3)

    def test_while_sending(self) -> None:
        """The old receiver settles what is just being sent; the rest is the new one's, in
        order."""
        self.put(DRAIN)
        self.push(2)
        old = self.receiver("one").accept()
        self.push()
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.push()
        old.say(OK)
        self.assertTrue(old.closed)
        self.clock.advance(0)
        request = Request(self.receiver("new").accept().received())
        self.assertEqual(request.count, 2)
        self.assertEqual(self.counters.drain_delivered, 2)

    def test_while_sending_in_vain(self) -> None:
        """Messages that the old receiver did not take are the new one's, in order."""
        self.put(DRAIN)
        self.push(2)
        old = self.receiver("one").accept()
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.push()
        old.say(answer(503))
        self.clock.advance(0)
        body = Request(self.receiver("new").accept().received()).body
        self.assertEqual([line[-1:] for line in body.splitlines()], [b"1", b"2", b"3"])

    def test_twice(self) -> None:
        """A second move while the first is not done: only the last URL counts."""
        self.put(DRAIN)
        self.push()
        old = self.receiver("one").accept()
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.put(evolve(DRAIN, url="http://newer.example/"))
        old.say(answer(503))
        self.clock.advance(0)
        self.assertEqual(self.receiver("new").attempts, [])
        self.assertEqual(Request(self.receiver("newer").accept().received()).count, 1)

    def test_to_another_kind(self) -> None:
        """Messages that the old receiver did not take go to the new one in its own form."""
        self.put(DRAIN)
        self.push(2)
        old = self.receiver("one").accept()
        self.put(evolve(DRAIN, url="syslog://new.example:80"))
        old.say(answer(503))
        self.clock.advance(0)
        new = self.receiver("new").accept()
        self.assertEqual(new.received().count(b" d.1 web web.1 - - number "), 2)
        new.transport.producer.resumeProducing()
        self.put(DRAIN)
        self.push()
        self.assertEqual(Request(self.receiver("one").accept().received()).count, 1)

    def test_deleted_while_moving(self) -> None:
        """Messages that the old receiver did not take are offered to the new one first."""
        self.put(DRAIN)
        self.push(2)
        old = self.receiver("one").accept()
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.delete(DRAIN)
        old.say(answer(503))
        self.clock.advance(0)
        new = self.receiver("new").accept()
        self.assertEqual(Request(new.received()).count, 2)
        new.say(OK)
        self.assertEqual(self.counters.drain_delivered, 2)
        self.assertEqual(self.samples("logplex_drains_buffered"), {})

    def test_deleted_while_moving_in_vain(self) -> None:
        """All of it ends within the bound."""
        self.put(DRAIN)
        self.push(2)
        self.receiver("one").accept()
        self.put(evolve(DRAIN, url="http://new.example/"))
        self.delete(DRAIN)
        self.clock.pump([1] * 5)
        self.assertEqual(self.counters.drain_dropped, 2)


class Losing(ServiceCase):
    options = DrainSettings(shared_buffer_bytes=0)

    def test_told_to_the_others(self) -> None:
        """A drain's loss is told to the channel's spool and other drains, not to itself."""
        self.put(DRAIN, OTHER)
        self.push()
        two = self.receiver("two").accept()
        for _ in range(3):
            self.push(500)
            while two.received():
                two.say(OK)
                self.clock.advance(0.05)
        self.assertEqual(self.samples("logplex_drain_dropped"), {"1": 477.0})
        self.clock.advance(1)
        [notice] = self.notices()
        self.assertIn(b"drain 'd.1' dropped 477 messages", notice)
        self.assertIn(b"drain 'd.1' dropped 477 messages", two.received())
        one = self.receiver("one").accept()
        body = b""
        while octets := one.received():
            body += Request(octets).body
            one.say(OK)
        self.assertNotIn(b"d.1", body)
        self.assertIn(b" 477 messages dropped", body)

    def test_two_that_are_down(self) -> None:
        """Two drains that are both down do not tell each other of their notices for ever."""
        self.put(DRAIN, OTHER)
        self.push(1_500)
        for _ in range(600):
            self.clock.advance(60)
        told = len(self.notices())
        for _ in range(600):
            self.clock.advance(60)
        self.assertEqual(len(self.notices()), told)


class Refused(ServiceCase):
    """The notices to the channel about connections that cannot be made."""

    def refuse(self, reason: Exception) -> None:
        self.put(evolve(DRAIN, url="http://us:pa@one.example/path?query"))
        self.push()
        self.receiver("one").refuse(reason)
        self.clock.advance(0)
        self.receiver("one").refuse(reason)

    def test_certificate(self) -> None:
        """The channel is told of an invalid certificate, once a minute, without secrets."""
        self.refuse(CertificateRejected("certificate has expired"))
        self.assertEqual(
            self.notices(),
            [
                b'Error L14 (certificate validation): error="certificate has expired" '
                b'uri="http://one.example:80"'
            ],
        )

    def test_denied(self) -> None:
        self.refuse(DestinationDenied())
        self.assertEqual(
            self.notices(), [b'Error (drain destination denied): uri="http://one.example:80"']
        )

    def test_others(self) -> None:
        """For other reasons there is one kind of notice, also without secrets."""
        self.refuse(ConnectRefused())
        self.assertEqual(
            self.notices(),
            [
                b"Error L31 (drain delivery error): drain 'd.1' no connection: Connection was "
                b"refused by other side (since 2026-11-22T16:00:00.000000+00:00)."
            ],
        )

    def test_answer(self) -> None:
        """The place that a redirect names may be secret: it is for the owner's eyes only."""
        self.put(DRAIN)
        self.push()
        self.receiver("one").accept().say(answer(301, b"Location: http://other.example/secret"))
        [notice] = self.notices()
        self.assertIn(b"drain 'd.1' the receiver answered 301 (since ", notice)
        self.assertIn("secret", str(self.service.status(1)))


class Hanging(SynchronousTestCase):
    """A lookup that never ends delays nothing, not even the end of its drain."""

    def setUp(self) -> None:
        self.reactor = MemoryReactorClock()
        self.registry = Registry()
        self.counters = Counters()
        self.pool = HeldPool()
        names: Any = Resolver(as_reactor(self.reactor), pool=cast(Any, self.pool))
        self.service = DrainService(
            self.registry,
            lambda *told: None,
            self.counters,
            DrainSettings(),
            limits=Live(Limits()),
            reactor=as_reactor(self.reactor),
            random=MiddleRandom(1),
            resolver=names,
        )
        self.service.start()
        self.registry.changed([Put(Channel("app")), Put(DRAIN)])
        stream = self.registry.stream("app")
        assert stream is not None
        stream.outlets[0].push([message(1)])
        self.reactor.advance(0)

    def test_asks_once(self) -> None:
        """There is one lookup, however often the drain tries."""
        self.reactor.pump([1] * 60)
        self.assertEqual(len(self.pool.held), 1)
        status = self.service.status(1)
        assert status is not None
        self.assertIn("no connection", str(status.last_error))

    def test_stop(self) -> None:
        stopped = self.service.stop()
        self.reactor.pump([1] * 5)
        self.successResultOf(stopped)
        self.assertEqual(self.counters.drain_dropped, 1)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def test_move(self) -> None:
        """The drain follows its URL at once."""
        self.registry.changed([Put(evolve(DRAIN, url="http://192.0.2.1/"))])
        self.reactor.advance(0)
        self.assertEqual([host for host, *_ in self.reactor.tcpClients], ["192.0.2.1"])


class Stopping(ServiceCase):
    def test_flushes(self) -> None:
        """The node's end waits until everything is sent."""
        self.put(DRAIN, OTHER)
        self.push(2)
        one = self.receiver("one").accept()
        stopped = self.service.stop()
        two = self.receiver("two").accept()
        one.say(OK)
        self.assertNoResult(stopped)
        two.say(OK)
        self.successResultOf(stopped)
        self.assertEqual(self.counters.drain_delivered, 4)

    def test_bound(self) -> None:
        """It waits for 5 s at most, and what was not sent is counted."""
        self.put(DRAIN)
        self.push(2)
        self.receiver("one").accept()
        stopped = self.service.stop()
        self.clock.advance(4.99)
        self.assertNoResult(stopped)
        self.clock.advance(0.02)
        self.successResultOf(stopped)
        self.assertEqual(self.counters.drain_dropped, 2)
        self.assertEqual(len([each for each in self.notices() if b"L10" in each]), 1)

    def test_waits_for_the_deleted(self) -> None:
        self.put(DRAIN)
        self.push()
        link = self.receiver("one").accept()
        self.delete(DRAIN)
        stopped = self.service.stop()
        self.assertNoResult(stopped)
        link.say(OK)
        self.successResultOf(stopped)

    def test_nothing_to_do(self) -> None:
        self.put(DRAIN)
        self.successResultOf(self.service.stop())
        self.put(OTHER)
        self.push()
        self.assertEqual(self.receiver("two").attempts, [])


class Numbers(ServiceCase):
    def test_states(self) -> None:
        """The numbers of drains in each state, and of the messages that they hold."""
        self.put(DRAIN, OTHER)
        self.assertEqual(self.samples("logplex_drains"), {"resting": 2.0})
        self.push(3)
        self.receiver("one").accept()
        self.assertEqual(self.samples("logplex_drains"), {"sending": 1.0, "connecting": 1.0})
        self.assertEqual(self.samples("logplex_drains_buffered"), {"": 6.0})

    def test_per_drain(self) -> None:
        self.put(DRAIN)
        self.push(3)
        self.receiver("one").accept().say(OK)
        self.push()
        self.assertEqual(self.samples("logplex_drain_received"), {"1": 4.0})
        self.assertEqual(self.samples("logplex_drain_delivered"), {"1": 3.0})
        self.assertEqual(self.samples("logplex_drain_buffered"), {"1": 1.0})
