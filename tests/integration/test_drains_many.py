"""Many drains, most of them in trouble: the others do not notice."""

from __future__ import annotations

from statistics import median

from twisted.internet.task import deferLater

from logplex.config import Drains
from logplex.model import Drain
from tests.integration.drains import DrainsTestCase, numbers
from tests.integration.process import reactor
from tests.integration.receivers import Answer, Delivery, HttpReceiver, refusal

#: What every drain gets: so many messages, so often, at this distance.
CHUNK, CHUNKS, PAUSE_S = 10, 25, 0.1
#: What those in trouble hold before that: more than a buffer does.
BEFORE = 1_500

#: How much later than alone messages may come, on a machine that does other things too. Whoever
#: waited for a drain in trouble would be seconds late: 3 for a connection, 5 for an answer.
SLACK_S = 0.5


class Well(HttpReceiver):
    """Notes when each message came, by the drain's token."""

    def __init__(self) -> None:
        super().__init__()
        self.came: dict[str, list[tuple[int, float]]] = {}
        self.script = self._note

    def _note(self, delivery: Delivery) -> Answer:
        now = reactor.seconds()
        came = self.came.setdefault(delivery.headers["logplex-drain-token"], [])
        came += [(number, now) for number in numbers(delivery.frames)]
        return Answer()


class ManyTests(DrainsTestCase):
    timeout = 120

    async def feed(self, drains: list[Drain]) -> list[float]:
        """Give every drain its messages; when each chunk was given."""
        given = []
        for chunk in range(CHUNKS):
            given.append(reactor.seconds())
            for drain in drains:
                self.push(drain, chunk * CHUNK, CHUNK)
                # The counters add up at every moment, and no buffer holds more than it may.
                bound = Drains().buffer_messages + Drains().http_batch_messages
                self.assertLessEqual(self.status(drain).buffered, bound)
            await deferLater(reactor, PAUSE_S)
        return given

    def latency(self, well: Well, drains: list[Drain], given: list[float]) -> float:
        """In the middle, from the drains' outlets to the receiver; all came, once, in order."""
        latencies = []
        for drain in drains:
            came = well.came.pop(drain.token)
            self.assertEqual([number for number, _ in came], list(range(CHUNK * CHUNKS)))
            latencies += [at - given[number // CHUNK] for number, at in came]
        return median(latencies)

    async def test_trouble_stays_where_it_is(self) -> None:
        """50 drains hang, 50 are refused, 50 are answered 500; 50 are well, and as fast as
        alone."""
        well = Well()
        self.receiver(well)
        hanging, broken = self.receiver(HttpReceiver()), self.receiver(HttpReceiver())
        hanging.script = lambda delivery: Answer(b"", keeps=False)
        broken.script = lambda delivery: refusal(500)
        refusing = HttpReceiver()
        self.addCleanup(refusing.close)

        healthy = [self.drain(well.url) for _ in range(50)]
        given = await self.feed(healthy)
        for drain in healthy:
            await self.settled(drain)
        alone_s = self.latency(well, healthy, given)

        sick = [
            self.drain(receiver.url) for receiver in (hanging, refusing, broken) for _ in range(50)
        ]
        for drain in sick:
            self.push(drain, 0, BEFORE)
        given = await self.feed([*sick, *healthy])
        for drain in healthy:
            self.assertEqual((await self.settled(drain)).dropped, 0)
        among_others_s = self.latency(well, healthy, given)
        self.assertLess(among_others_s, alone_s + SLACK_S)
        for drain in sick:
            status = self.status(drain)
            self.assertEqual(status.delivered, 0)
            self.assertGreater(status.dropped, 0)
