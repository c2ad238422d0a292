# SPDX-License-Identifier: Apache-2.0

"""
The life of a node: start and stop its parts in order.
"""

from __future__ import annotations

import atexit
import gc
import os
import sys
from collections.abc import Callable, Mapping
from typing import Any

from attrs import evolve
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger, globalLogPublisher
from twisted.python.failure import Failure

from logplex import __version__
from logplex.access.credentials import make_first_credential
from logplex.certificates import BadPem
from logplex.configuration import make_config_store
from logplex.interfaces import IReactor, StoreUnusable
from logplex.journal import make_journal
from logplex.journal.journal import Journal
from logplex.journal.values import JournalFull, JournalUnusable
from logplex.live import Live
from logplex.metrics import Counters
from logplex.node.assembly import Parts, assemble
from logplex.node.descriptors import MAX_DESCRIPTORS, Descriptors, missing_descriptors
from logplex.node.listeners import CannotListen, close_ports, open_ports
from logplex.node.log_output import LogOutput
from logplex.node.own_services import WatchedReactor
from logplex.node.reload import LogFilter, Reload
from logplex.node.signals import StopSignals
from logplex.settings import Settings
from logplex.spool import make_spool
from logplex.waiting import within

_log = Logger()

#: A stopping node waits this long for a reader of its last log lines.
LAST_LINES_TIMEOUT_S = 1.0
#: After this time the log names the step that a stopping node waits for, and then again as often.
SLOW_STEP_S = 2.0
#: A journal whose disk is full is opened again after this time.
JOURNAL_RETRY_S = 5.0

#: The time that a stopping node gives to open requests.
SITES_CLOSE_TIMEOUT_S = 2.0


def make_service(
    settings: Settings,
    reactor: IReactor,
    load: Callable[[], Settings],
    origin: str = "logplex",
    *,
    log_output: LogOutput | None = None,
    descriptor_limit: int = MAX_DESCRIPTORS,
) -> IService:
    """
    Return the service of a node. The service is not started yet.

    :param load: reads the settings again, for SIGHUP; may raise
        :class:`~logplex.settings.SettingsError`.
    :param origin: the beginning of an error line: ``logplex``, and the settings file.
    :param log_output: the standard output, if the log is written to it.
    :param descriptor_limit: the number of descriptors that the process may have.
    :raise SystemExit: the node cannot work. The text gives the reason in one line.
    """
    counters = Counters()
    limits = Live(settings.limits)
    descriptors = Descriptors(reactor, descriptor_limit, limits)
    if log_output is not None:
        log_output.limits, log_output.reactor = limits, reactor
    try:
        watched: Any = WatchedReactor(reactor)
        config = make_config_store(settings.store, watched)
        spool = make_spool(settings, watched, counters)
        parts = assemble(
            settings,
            config,
            spool,
            counters,
            limits=limits,
            reactor=reactor,
            redis_addresses=watched.addresses,
            journal=make_journal(
                settings.journal, config.directory, reactor, settings.store.url != "sqlite:"
            ),
            sources=[descriptors.samples, *([] if log_output is None else [log_output.samples])],
        )
        log_filter = LogFilter(globalLogPublisher, settings.log.level)
        node = Node(
            parts,
            settings,
            reactor,
            load,
            origin=origin,
            log_filter=log_filter,
            descriptors=descriptors,
        )
        if log_output is not None:
            reactor.addSystemEventTrigger(
                "after", "shutdown", log_output.flush_within, LAST_LINES_TIMEOUT_S
            )
        return node
    except StoreUnusable as error:
        raise SystemExit(f"{origin}: [store] url: {error}") from None
    except BadPem as error:
        raise SystemExit(f"{origin}: {error}") from None


class CannotStart(SystemExit, Exception):
    """
    The node cannot start. The text gives the reason in one line.

    This error is a ``SystemExit``, so Python prints the line and no traceback. It is also an
    ``Exception``, so ``twistd`` reports it from the daemon to the process at the terminal, which
    would otherwise wait for ever.
    """


class Node(Service):
    """
    A node of Logplex: the service that starts and stops all parts.

    Ports are bound before the process gives up its privileges. Syslog connections are accepted at
    once, but are read only after the configuration store has been loaded.
    """

    def __init__(
        self,
        parts: Parts,
        settings: Settings,
        reactor: IReactor,
        load: Callable[[], Settings],
        *,
        origin: str,
        log_filter: LogFilter,
        descriptors: Descriptors,
    ) -> None:
        self._parts = parts
        self._settings = settings
        self._reactor = reactor
        self._origin = origin
        self._log_filter = log_filter
        self._descriptors = descriptors
        self._signals = StopSignals(reactor)
        self._reload = Reload(settings, parts, log_filter, load, reactor=reactor)
        parts.panel.observe(self._obey_rods)
        parts.syslog.pause()

    # Start.

    def privilegedStartService(self) -> None:
        """
        Bind all ports, also ports below 1024, because ``twistd`` still has its privileges at this
        moment.

        :raise CannotStart: a port cannot be bound.
        """
        self._log_filter.begin()
        listeners = [
            evolve(each, factory=self._descriptors.reserving(each.name, each.factory))
            for each in self._parts.listeners(self._settings, self._reactor)
        ]
        try:
            self._parts.ports.extend(open_ports(self._reactor, listeners))
        except CannotListen as error:
            raise CannotStart(f"{self._origin}: {error}") from None

    def startService(self) -> None:
        """
        Load the configuration store. Then read syslog connections, and report the health ``OK``.
        """
        super().startService()
        _log.info(
            "Logplex {version} on node {name}", version=__version__, name=self._settings.node.name
        )
        config, spool = self._parts.config, self._parts.spool
        _log.info("store: {store}; spool: {spool}", store=config.name, spool=spool.name)
        missing = missing_descriptors(self._settings, self._descriptors.limit)
        if missing:
            _log.warn(
                "the node may have {limit} open files; the connections of [limits] need {missing}"
                " more. Raise the limit of open files, or lower [limits]",
                limit=self._descriptors.limit,
                missing=missing,
            )
        self._reload.begin()
        self._reactor.callWhenRunning(self._signals.begin)
        Deferred.fromCoroutine(self._open()).addErrback(self._cannot_open)

    async def _open(self) -> None:
        parts = self._parts
        parts.registry.wait_for_node = True
        if parts.journal is not None:
            await self._open_journal(parts.journal)
        await parts.config.open(parts.registry)
        if not self.running:
            return
        parts.drains.start()
        if parts.journal is not None and parts.journal.not_opened is None:
            parts.journal.end_others()
        await self._welcome()
        # Not before: a client that finds the node healthy may use the first credential.
        parts.registry.ready = True
        self._obey_rods()
        parts.metrics_channel.start()
        # The loaded objects stay for the life of the node. Without freezing, every full garbage
        # collection would walk through them and stop the node for 30 ms or more.
        gc.collect()
        gc.freeze()
        _log.info("ready: {counts}", counts=_enumerate(parts.registry.counts()))

    async def _open_journal(self, journal: Journal) -> None:
        """Open the journal. If its disk is full, the node runs without durable drains at first."""
        try:
            await journal.open()
        except JournalFull as error:
            if journal.not_opened is None:
                journal.not_opened = str(error)
                _log.error("{reason}; durable drains wait until there is room", reason=str(error))
            self._reactor.callLater(JOURNAL_RETRY_S, self._open_journal_later, journal)
            return
        journal.not_opened = None
        for digest in journal.stored.frames:
            self._parts.frame_ids.add(digest)

    def _open_journal_later(self, journal: Journal) -> None:
        if self.running:
            trying = Deferred.fromCoroutine(self._open_journal_again(journal))
            trying.addErrback(lambda failure: _log.failure("bug: the journal", failure=failure))

    async def _open_journal_again(self, journal: Journal) -> None:
        """Try again to open the journal, and start the durable drains."""
        await self._open_journal(journal)
        if journal.not_opened is None:
            _log.info("the journal {path} is open", path=journal.path)
            for stream in self._parts.registry.streams():
                for drain in stream.drains:
                    self._parts.drains.drain_put(drain)

    async def _welcome(self) -> None:
        """
        Create the first credential, if there is no credential and the store is not shared with
        other nodes.
        """
        config, registry = self._parts.config, self._parts.registry
        has_one = self._settings.credentials or registry.counts()["credential"]
        if config.directory is None or has_one:
            return
        try:
            made = await make_first_credential(config.commit, config.directory)
        except OSError as error:
            _log.error("cannot write the first credential: {error}", error=error)
            return
        _log.info(
            "made a first credential {id!r} with every permission; it is in {path}",
            id=made.id,
            path=str(made.path),
        )
        if sys.stderr.isatty():
            # Not through the log, which may be copied and kept anywhere.
            print(f"The first credential is {made.id}:{made.password}", file=sys.stderr)

    def _cannot_open(self, failure: Failure) -> None:
        """Stop the node with an exit status of 1, because its store cannot be opened."""
        if not self.running:
            return
        if failure.check(JournalUnusable):
            why = failure.getErrorMessage()
            _log.critical("{origin}: [journal] file: {why}", origin=self._origin, why=why)
        elif failure.check(StoreUnusable):
            why = failure.getErrorMessage()
            _log.critical("{origin}: [store] url: {why}", origin=self._origin, why=why)
        else:
            _log.failure("bug: the node cannot start", failure=failure)
        atexit.register(_exit_with_failure)
        self._reactor.stop()

    # Stop.

    def stopService(self) -> Deferred[None]:
        """Stop the node. Each part delivers its remaining messages within its own time limit."""
        super().stopService()
        self._signals.stopping()
        return Deferred.fromCoroutine(self._close())

    async def _leave(self) -> None:
        """
        Wait until load balancers have noticed that the node stops, so that they send new clients to
        other nodes.
        """
        seconds = self._settings.node.drain_s
        if seconds and self._parts.registry.ready:
            self._parts.registry.leaving = True
            _log.info("stopping: health checks answer 503 for {seconds} s", seconds=seconds)
            await deferLater(self._reactor, seconds)

    async def _close(self) -> None:
        begun_s = self._reactor.seconds()
        await self._leave()
        self._reload.end()
        self._parts.metrics_channel.stop()
        parts = self._parts
        for what, step in (
            ("closing the ports", lambda: close_ports(self._parts.ports)),
            ("closing syslog connections", parts.syslog.close),
            ("ending the tails", parts.tails.stop),
            ("closing HTTP connections", self._close_sites),
            ("flushing the drains", parts.drains.stop),
            ("flushing the spool", parts.spool.close),
            ("closing the journal", self._close_journal),
            ("closing the store", parts.config.close),
        ):
            slow = LoopingCall(_log.info, "stopping: still {what}", what=what)
            slow.clock = self._reactor
            slow.start(SLOW_STEP_S, now=False)
            try:
                await step()
            except Exception:
                _log.failure("stopping: {what} failed", what=what)
            finally:
                slow.stop()
        taken_s = self._reactor.seconds() - begun_s
        _log.info("stopped after {seconds} s", seconds=f"{taken_s:.1f}")
        self._signals.end()

    async def _close_journal(self) -> None:
        if self._parts.journal is not None:
            await self._parts.journal.close()

    async def _close_sites(self) -> None:
        """Finish the open HTTP requests. Cut off requests that take too long."""
        closing = [site.close() for site in self._parts.sites.values()]
        late = TimeoutError(f"requests not answered within {SITES_CLOSE_TIMEOUT_S} s")
        try:
            await within(
                DeferredList(closing, consumeErrors=True),
                SITES_CLOSE_TIMEOUT_S,
                self._reactor,
                late,
            )
        except TimeoutError as error:
            _log.warn("stopping: {why}; cutting them off", why=str(error))

    # While the node runs.

    def _obey_rods(self) -> None:
        """Pause or resume the parts that do not read the control rods themselves."""
        if self._parts.rods.now.deny_logs_ingress or not self._parts.registry.ready:
            self._parts.syslog.pause()
        else:
            self._parts.syslog.resume()
        self._parts.drains.hold(self._parts.rods.now.deny_drain_forwarding)


def _enumerate(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())


def _exit_with_failure() -> None:
    """End the process with the exit status 1, because ``twistd`` itself would end it with 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
