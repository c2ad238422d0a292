# SPDX-License-Identifier: Apache-2.0

"""
All drains of the node: the service reads the registry, and starts, moves and stops its drains.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, DeferredList, succeed
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from logplex.drains.delivery.buffer import Buffer, SharedBuffer
from logplex.drains.delivery.courier import Courier, Outcome, Reports
from logplex.drains.delivery.durable import DurableBuffer
from logplex.drains.delivery.lifecycle import Lifecycle
from logplex.drains.delivery.pace import Pace
from logplex.drains.delivery.states import Phase
from logplex.drains.drain import ChannelNotices, RunningDrain
from logplex.drains.journaled import JournaledChannels, check_journal
from logplex.drains.kinds import Kinds
from logplex.drains.network.guard import Guard
from logplex.drains.network.resolver import Resolver
from logplex.drains.network.tls import Trust
from logplex.drains.probe import Probe
from logplex.interfaces import (
    DrainStatus,
    DrainTest,
    IDrainObserver,
    IDrains,
    IReactor,
    Tell,
)
from logplex.journal.journal import Journal
from logplex.live import Live
from logplex.metrics import Counters, Sample
from logplex.model.destination import (
    BadDestination,
    Destination,
    check_durable,
    parse_destination,
)
from logplex.model.values import Drain
from logplex.routing.registry import Registry
from logplex.settings import DrainSettings, Limits

_log = Logger()

#: The time for which an ordinary drain that becomes durable may go on sending its buffer.
_ALL_DAY_S = 86_400.0


@implementer(IDrainObserver, IDrains)
class DrainService:
    """
    The service that starts, moves, stops and tests the drains of the registry.

    :param registry: has the drains and their messages; observed after :meth:`start`.
        :meth:`start`.
    :param tell: sends notices about drains to channels.
    :param reactor: makes connections, and is the clock.
    :param resolver: looks up hosts; the default asks the system.
    :param connect_to: returns an endpoint for a host and port, without TLS; the default connects
        over TCP to the fastest permitted address of the host.
    :param own_services: returns the addresses and ports of the node's own services, to which no
        drain may connect.
    :param journal: keeps the messages of durable drains; ``None``: they cannot run.
    :raise BadPem: a file of certificates cannot be used.
    """

    def __init__(
        self,
        registry: Registry,
        tell: Tell,
        counters: Counters,
        settings: DrainSettings,
        *,
        limits: Live[Limits],
        reactor: IReactor,
        random: Random | None = None,
        resolver: Resolver | None = None,
        connect_to: Callable[[str, int], IStreamClientEndpoint] | None = None,
        own_services: Callable[[], Iterable[tuple[str, int]]] = tuple,
        journal: Journal | None = None,
    ) -> None:
        self._registry = registry
        self._journaled = JournaledChannels(registry, journal) if journal else None
        self._tell = tell
        self._counters = counters
        self._settings = settings
        self._limits = limits
        self._reactor = reactor
        self._random = random or Random()
        guard = Guard(settings.deny_networks, own_services)
        resolver = resolver or Resolver(reactor, channel_lookups=settings.channel_lookups)
        self._kinds = Kinds(
            settings=settings,
            trust=Trust(settings.ca_file, settings.pinned_file, settings.pinned_certificates),
            guard=guard,
            resolver=resolver,
            reactor=reactor,
            random=self._random,
            connect_to=connect_to,
        )
        self._shared = SharedBuffer(settings.shared_buffer_bytes)
        self._running: dict[int, RunningDrain] = {}
        self._leaving: dict[RunningDrain, Deferred[None]] = {}
        #: The reason for each drain that has a URL and cannot run.
        self._unusable: dict[int, str] = {}
        self._testing: set[int] = set()
        #: Durable drains that become ordinary, each with the drain that takes its place.
        self._successors: dict[RunningDrain, RunningDrain] = {}
        self._stopped = self._held = False

    def start(self) -> None:
        """Start to run the drains of the registry."""
        self._registry.observe_drains(self)

    def stop(self) -> Deferred[None]:
        """Stop all drains. They send their buffered messages first, for ``flush_s`` at most."""
        self._stopped = True
        for drain_id in list(self._running):
            self._end(drain_id)
        return DeferredList(list(self._leaving.values())).addCallback(lambda _: None)

    def hold(self, held: bool) -> None:
        """Stop durable drains from sending while ``held`` is true. They lose no message."""
        self._held = held
        for running in self._running.values():
            if isinstance(running.buffer, DurableBuffer):
                running.buffer.hold(held)

    # Called by the registry.

    def drain_put(self, drain: Drain) -> None:
        """See :class:`IDrainObserver`."""
        running = self._running.get(drain.id)
        if running and evolve(drain, channel_id=running.drain.channel_id) == running.drain:
            return
        destination = self._destination(drain)
        if destination is None or self._stopped:
            self._end(drain.id)
        elif running is None:
            self._start(drain, destination)
        elif drain.durable == running.drain.durable:
            running.move(drain, destination)
        elif drain.durable:
            self._make_durable(running, drain, destination)
        else:
            self._make_ordinary(running, drain, destination)

    def drain_deleted(self, drain: Drain) -> None:
        """See :class:`IDrainObserver`."""
        self._unusable.pop(drain.id, None)
        self._end(drain.id)

    # Called by the APIs and the metrics.

    def states(self) -> dict[str, int]:
        """Return the number of drains in each state."""
        states = Counter(each.phase for each in self._running.values())
        return {phase.value: states[phase] for phase in Phase}

    def samples(self) -> Iterator[Sample]:
        """Yield the number of drains in each state and of buffered messages, for metrics."""
        for state, count in self.states().items():
            yield Sample("logplex_drains", "Drains, by state", count, {"state": state})
        yield Sample(
            "logplex_drains_buffered",
            "Messages that drains hold and have not delivered",
            sum(each.buffer.buffered for each in (*self._running.values(), *self._leaving)),
        )
        yield from self._shared.samples()
        yield from self._kinds.attempts.samples()

    def drain_samples(self) -> Iterator[Sample]:
        """Yield the counts of each drain, for metrics."""
        for running in self._running.values():
            yield from running.samples()

    def status(self, drain_id: int) -> DrainStatus | None:
        """See :class:`IDrains`."""
        running = self._running.get(drain_id)
        if running is not None:
            return running.status()
        drain = self._registry.drain(drain_id)
        if drain is None:
            return None
        reason = self._unusable.get(drain_id)
        return DrainStatus("unusable" if reason else "reserved", last_error=reason)

    def test(self, drain_id: int) -> Deferred[DrainTest]:
        """See :class:`IDrains`. Each drain has one test at a time."""
        running = self._running.get(drain_id)
        if running is None or drain_id in self._testing:
            why = "another test is under way" if running else "the drain is not running"
            return succeed(DrainTest(delivered=False, error=why))
        self._testing.add(drain_id)
        probe = Probe(self._reactor)
        courier, _ = self._kinds.make(
            running.drain,
            running.destination,
            probe.buffer,
            probe.outcome,
            reports=probe,
            at_once=True,
        )

        def ended(result: DrainTest) -> DrainTest:
            self._testing.discard(drain_id)
            return result

        return probe.send(courier).addCallback(ended)

    # Drains that start and end.

    def _destination(self, drain: Drain) -> Destination | None:
        """
        Return the destination of a drain; ``None`` if the drain's URL cannot be used.

        The configuration store may hold URLs that the APIs would have refused.
        """
        self._unusable.pop(drain.id, None)
        if drain.url is None:
            return None
        try:
            if not (drain.token.isascii() and drain.token.isprintable()):
                raise BadDestination("the drain's token is not printable ASCII")
            destination = parse_destination(drain.url)
            if drain.durable:
                check_journal(self._journaled)
                check_durable(destination)
            return destination
        except BadDestination as bad:
            self._unusable[drain.id] = bad.reason
            _log.warn(
                "drain {id} of channel {channel} cannot run: {reason}",
                id=drain.id,
                channel=drain.channel_id,
                reason=bad.reason,
            )
            return None

    def _start(self, drain: Drain, destination: Destination) -> None:
        journaled = self._journaled
        if drain.durable:
            self._start_durable(drain, destination)
        elif journaled and journaled.has_earlier(str(drain.id), drain.channel_id):
            # It was becoming ordinary when the process ended.
            self._start_durable(drain, destination)
            self._make_ordinary(self._running[drain.id], drain, destination)
        else:
            self._with_buffer(drain, destination)

    def _start_durable(
        self, drain: Drain, destination: Destination, after: Deferred[None] | None = None
    ) -> None:
        """Start a durable drain, which begins to send when ``after`` fires."""
        assert self._journaled is not None
        notices = self._notices(drain)
        buffer = DurableBuffer(self._reactor, self._counters, drain.token, notices.lost)
        self._run(drain, destination, buffer, notices)
        self._journaled.add(drain)
        buffer.hold(self._held)
        buffer.open(self._journaled.journal, str(drain.id), drain.channel_id, after)

    def _with_buffer(self, drain: Drain, destination: Destination) -> RunningDrain:
        notices = self._notices(drain)
        buffer = Buffer(
            self._reactor,
            self._counters,
            self._settings.buffer_messages,
            notices.lost,
            channel_id=drain.channel_id,
            shared=self._shared,
        )
        notices.about = buffer
        self._registry.attach(drain.channel_id, buffer)
        return self._run(drain, destination, buffer, notices)

    def _notices(self, drain: Drain) -> ChannelNotices:
        return ChannelNotices(
            self._tell, self._limits, self._reactor, drain.channel_id, drain.token
        )

    def _run(
        self,
        drain: Drain,
        destination: Destination,
        buffer: Buffer | DurableBuffer,
        notices: ChannelNotices,
    ) -> RunningDrain:
        running = RunningDrain(
            drain, destination, buffer, Outcome(notices.failed), notices, self._make_lifecycle
        )
        self._running[drain.id] = running
        return running

    def _make_durable(self, running: RunningDrain, drain: Drain, destination: Destination) -> None:
        """Make a drain durable: it sends its buffer first, then messages from the journal."""
        if isinstance(running.buffer, DurableBuffer):
            # It was about to become ordinary. If it is too late, this is asked for again.
            running.buffer.stay()
            running.move(drain, destination)
            return
        del self._running[drain.id]
        left: Deferred[None] = Deferred()
        self._leave(running, _ALL_DAY_S)
        leaving = self._leaving.get(running)
        if leaving is None:
            left.callback(None)
        else:
            leaving.addCallback(left.callback)
        self._start_durable(drain, destination, left)

    def _make_ordinary(self, running: RunningDrain, drain: Drain, destination: Destination) -> None:
        """Make a durable drain ordinary: it sends its backlog first, then messages in memory."""
        running.move(drain, destination)
        durable = running.buffer
        journaled = self._journaled
        assert isinstance(durable, DurableBuffer)
        assert journaled is not None

        def begin() -> Callable[[], None]:
            journaled.remove(drain)
            ordinary = self._with_buffer(drain, destination)
            ordinary.pause()
            self._running[drain.id] = running
            self._successors[running] = ordinary

            def finish() -> None:
                del self._successors[running]
                self._running[drain.id] = ordinary
                self._leave(running, 0.0)
                ordinary.resume()
                self.drain_put(self._registry.drain(drain.id) or drain)

            return finish

        durable.retire(begin)

    def _make_lifecycle(self, running: RunningDrain) -> Lifecycle:
        def make_courier(reports: Reports) -> tuple[Courier[Any], Pace]:
            return self._kinds.make(
                running.drain,
                running.destination,
                running.buffer,
                running.outcome,
                reports=reports,
            )

        return Lifecycle(make_courier, running.buffer, self._reactor, self._random, running.refused)

    def _end(self, drain_id: int) -> None:
        running = self._running.pop(drain_id, None)
        if running is not None:
            self._leave(running)

    def _leave(self, running: RunningDrain, within_s: float | None = None) -> None:
        drain = running.drain
        if isinstance(running.buffer, Buffer):
            self._registry.detach(drain.channel_id, running.buffer)
        else:
            assert self._journaled is not None
            self._journaled.remove(drain)
            successor = self._successors.pop(running, None)
            if successor is not None:
                self._leave(successor, within_s)

        def left(lost: int) -> None:
            if lost:
                _log.warn(
                    "drain {id} of channel {channel} ended with {lost} messages not sent",
                    id=drain.id,
                    channel=drain.channel_id,
                    lost=lost,
                )
            running.notices.flush()
            if isinstance(running.buffer, DurableBuffer) and not self._stopped:
                running.buffer.backlog.end()

        def gone(result: Failure | None) -> None:
            self._leaving.pop(running, None)
            if isinstance(result, Failure):
                _log.failure("bug: a drain cannot stop", failure=result)

        flush_s = self._settings.flush_s if within_s is None else within_s
        leaving = running.stop(flush_s).addCallback(left).addBoth(gone)
        if not leaving.called:
            self._leaving[running] = leaving
