"""
The node: the only place that knows all parts. It puts them together, and starts and stops them in
order.
"""

from __future__ import annotations

import atexit
import os
import signal
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from functools import partial
from random import SystemRandom
from typing import Any

import attrs
from twisted.application.service import IService, Service
from twisted.internet.defer import Deferred, DeferredList, TimeoutError
from twisted.internet.interfaces import IListeningPort, IProtocolFactory
from twisted.logger import Logger
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure

from logplex import __version__
from logplex.api.journal import Journal
from logplex.api.legacy_site import legacy_site
from logplex.api.metrics import channel_samples, metrics_site
from logplex.api.provisioning import Provisioning
from logplex.api.v3_site import v3_site
from logplex.authentication import Authenticator, credential_from_file
from logplex.config import ConfigError, Settings, changed_options
from logplex.drains.service import DrainService
from logplex.drains.tls import CannotTrust
from logplex.firehose import Firehose
from logplex.first_credential import make_first_credential
from logplex.inputs.logs import logs_site
from logplex.inputs.syslog import SyslogFactory
from logplex.inputs.tls import ServerTls, TlsError
from logplex.interfaces import StoreUnusable
from logplex.listeners import CannotListen, Listener, close_ports, open_ports
from logplex.metrics import Counters, Sample, Source, counter_samples
from logplex.metrics_channel import MetricsChannel
from logplex.registry import Registry
from logplex.rods import Rods
from logplex.router import Router
from logplex.store.factory import make_stores
from logplex.syslog import inner
from logplex.tails.resource import Sessions
from logplex.tails.tails import Tails
from logplex.throttle import Throttle
from logplex.web import Site

_log = Logger()

#: A stopping node waits so long for requests to be answered.
SITES_CLOSE_TIMEOUT_S = 2.0

#: What SIGHUP can change; every other section needs a restart.
_LIVE_SECTIONS = ("limits", "rods", "tls")


def make_service(settings: Settings, reactor: Any, load: Callable[[], Settings]) -> IService:
    """
    The service of a node, not started.

    :param load: reads the configuration again, for SIGHUP; may raise :class:`ConfigError`.
    :raise SystemExit: with one line, where the node could not work.
    """
    try:
        return Node(settings, reactor, load)
    except StoreUnusable as error:
        raise SystemExit(f"logplex: [store] url: {error}") from None
    except (TlsError, CannotTrust) as error:
        raise SystemExit(f"logplex: {error}") from None


class Node(Service):
    """
    One Logplex.

    Its ports are bound before privileges are shed; syslog connections are accepted but not read
    until the store is loaded.
    """

    def __init__(self, settings: Settings, reactor: Any, load: Callable[[], Settings]) -> None:
        self._settings = settings
        self._reactor = reactor
        self._load = load
        self._limits = attrs.evolve(settings.limits)
        self._rods = Rods(**attrs.asdict(settings.rods))
        self._counters = Counters()
        self._started_at = reactor.seconds()
        self._stores = make_stores(settings, reactor, self._counters)
        self._registry = Registry()
        self._firehose = Firehose(settings.firehose, self._registry, self._rods, SystemRandom())
        self._router = Router(
            self._registry,
            self._stores.spool,
            self._rods,
            self._counters,
            reactor,
            self._limits,
            self._firehose,
        )
        self._drains = DrainService(
            self._registry,
            self._router.tell,
            self._counters,
            settings.drains,
            self._limits,
            reactor,
        )
        self._tails = Tails(self._stores.spool, reactor, self._limits, self._counters)
        self._registry.observe(self._tails)
        self._metrics_channel = MetricsChannel(
            settings.metrics.channel_id,
            settings.node.name,
            self._counters,
            self._router.tell,
            reactor,
        )
        self._syslog = SyslogFactory(self._router.route, self._counters, self._limits, reactor)
        self._syslog.pause()
        self._tls = ServerTls(settings.tls) if settings.listen.syslog_tls else None
        self._sites = self._make_sites()
        self._ports: list[IListeningPort] = []

    # The order of things.

    def privilegedStartService(self) -> None:
        """Bind all ports, low ones too. ``twistd`` has not shed its privileges yet."""
        try:
            self._ports = open_ports(self._reactor, self._listeners())
        except CannotListen as error:
            raise SystemExit(f"logplex: {error}") from None

    def startService(self) -> None:
        """Load the store; then read syslog and say ``OK`` when asked for health."""
        super().startService()
        _log.info(
            "Logplex {version} on node {name}", version=__version__, name=self._settings.node.name
        )
        _log.info("store: {store}", store=self._stores.name)
        _log.info("inner loop: {kind}", kind=inner.KIND)
        signal.signal(signal.SIGHUP, self._sighup)
        opening = Deferred.fromCoroutine(self._open())
        opening.addErrback(self._cannot_open)

    def stopService(self) -> Deferred[None]:
        """Let what is in the node get where it should be, each part within its bound."""
        super().stopService()
        self._metrics_channel.stop()
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
        return Deferred.fromCoroutine(self._close())

    async def _open(self) -> None:
        await self._stores.config.open(self._registry)
        self._drains.start()
        await self._welcome()
        self._obey_rods()
        self._metrics_channel.start()
        _log.info("ready: {counts}", counts=_enumerate(self._registry.counts()))

    async def _close(self) -> None:
        for what, step in (
            ("closing the ports", lambda: close_ports(self._ports)),
            ("closing syslog connections", self._syslog.close),
            ("ending the tails", self._tails.stop),
            ("closing HTTP connections", self._close_sites),
            ("flushing the drains", self._drains.stop),
            ("flushing the spool", self._stores.spool.close),
            ("closing the store", self._stores.config.close),
        ):
            try:
                await step()
            except Exception:
                _log.failure("stopping: {what} failed", what=what)

    def _cannot_open(self, failure: Failure) -> None:
        """A node without store is of no use; twistd has no way of its own to fail this late."""
        if failure.check(StoreUnusable):
            _log.critical("logplex: [store] url: {why}", why=failure.getErrorMessage())
        else:
            _log.failure("bug: the node cannot start", failure=failure)
        atexit.register(_exit_with_failure)
        self._reactor.stop()

    # What it is made of.

    def _listeners(self) -> Iterator[Listener]:
        factories: dict[str, IProtocolFactory] = {"syslog": self._syslog, **self._sites}
        if self._tls is not None:
            factories["syslog_tls"] = TLSMemoryBIOFactory(
                self._tls, False, self._syslog, self._reactor
            )
        for name, factory in factories.items():
            for endpoint in getattr(self._settings.listen, name):
                yield Listener(name, endpoint, factory)

    def _make_sites(self) -> dict[str, Site]:
        """What answers over HTTP, by the listener's name."""
        registry, rods, limits, clock = self._registry, self._rods, self._limits, self._reactor
        counters, spool, urls = self._counters, self._stores.spool, self._settings.urls
        authenticator = Authenticator(
            registry,
            [credential_from_file(each) for each in self._settings.credentials],
            self._settings.auth.key,
            Throttle(clock, limits),
        )
        journal = Journal(self._settings.auth.log_api_user)
        provisioning = Provisioning(self._stores.config, registry, spool, clock, limits)
        pages: dict[bytes, list[Source]] = {
            b"/metrics": [
                partial(counter_samples, counters),
                self._samples,
                self._drains.samples,
                self._tails.samples,
                self._stores.samples,
                self._syslog.samples,
                self._firehose.samples,
            ],
            b"/metrics/channels": [partial(channel_samples, registry)],
            b"/metrics/drains": [self._drains.drain_samples],
        }
        return {
            "logs": logs_site(self._router, registry, authenticator, rods, counters, limits, clock),
            "api_v3": v3_site(
                provisioning,
                self._stores.config,
                registry,
                spool,
                authenticator,
                rods,
                self._settings.auth,
                urls,
                limits,
                clock,
                journal,
            ),
            "api": legacy_site(
                provisioning,
                self._stores.config,
                registry,
                authenticator,
                rods,
                urls,
                limits,
                clock,
                journal,
                Sessions(self._stores.config, registry, rods, self._tails).page,
            ),
            "metrics": metrics_site(pages, limits, clock),
        }

    async def _close_sites(self) -> None:
        """Answer the requests that are there; those that take too long are cut off."""
        closing = DeferredList([site.close() for site in self._sites.values()])
        closing.addTimeout(SITES_CLOSE_TIMEOUT_S, self._reactor)
        with suppress(TimeoutError):
            await closing

    def _samples(self) -> Iterator[Sample]:
        """What the node itself knows of itself."""
        yield Sample("logplex_info", "Which Logplex this is", 1, {"version": __version__})
        yield Sample(
            "logplex_uptime_seconds",
            "Since the start of the node",
            self._reactor.seconds() - self._started_at,
        )
        for kind, count in self._registry.counts().items():
            yield Sample("logplex_known", "What the registry knows, by kind", count, {"kind": kind})

    async def _welcome(self) -> None:
        """Make the first credential of a node of its own that has none at all."""
        directory = self._stores.directory
        if directory is None or self._settings.credentials or self._registry.counts()["credential"]:
            return
        try:
            made = await make_first_credential(self._stores.config.commit, directory)
        except OSError as error:
            _log.error("cannot write the first credential: {error}", error=error)
            return
        _log.info(
            "made a first credential {id!r} with every permission; it is in {path}",
            id=made.id,
            path=str(made.path),
        )
        if sys.stderr.isatty():
            # Not through the log: it may go anywhere, and stays.
            print(f"The first credential is {made.id}:{made.password}", file=sys.stderr)

    # While it runs.

    def _obey_rods(self) -> None:
        """Tell how the rods stand to those who do not look at them each time."""
        if self._rods.deny_logs_ingress or not self._registry.ready:
            self._syslog.pause()
        else:
            self._syslog.resume()

    def _sighup(self, *_: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        """Take from the configuration what can change while running, and name the rest."""
        try:
            new = self._load()
        except ConfigError as error:
            _log.error("SIGHUP: nothing changed: {error}", error=error)
            return
        for changed in changed_options(self._settings, new):
            if changed.section in _LIVE_SECTIONS:
                _log.info("SIGHUP: {option} has a new value", option=str(changed))
            else:
                _log.warn("SIGHUP: {option} needs a restart", option=str(changed))
        _copy(new.limits, self._limits)
        _copy(new.rods, self._rods)
        live = {section: getattr(new, section) for section in _LIVE_SECTIONS}
        self._settings = attrs.evolve(self._settings, **live)
        self._obey_rods()
        self._reload_tls()

    def _reload_tls(self) -> None:
        """Also where the options are the same: certificates are renewed in place."""
        if self._tls is None:
            return
        try:
            self._tls.reload(self._settings.tls)
        except TlsError as error:
            _log.error("SIGHUP: the old certificate stays: {error}", error=error)


def _copy(values: Any, into: Any) -> None:
    """Give every field of ``into`` the value that it has in ``values``."""
    for each in attrs.fields(type(into)):
        setattr(into, each.name, getattr(values, each.name))


def _enumerate(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {kind}{'' if count == 1 else 's'}" for kind, count in counts.items())


def _exit_with_failure() -> None:
    """At the very end of the process; ``twistd`` would exit with 0."""
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(1)
