# SPDX-License-Identifier: Apache-2.0

"""
The assembly of a node: this module makes all parts and connects them. No other module knows all
parts.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial
from itertools import chain
from random import SystemRandom

from attrs import frozen
from twisted.internet.interfaces import IListeningPort, IProtocolFactory, IReactorTime

from logplex import __version__
from logplex.access.authenticator import Authenticator, Throttle
from logplex.access.credentials import credential_from_file
from logplex.api.audit import Audit
from logplex.api.legacy.site import legacy_site
from logplex.api.provisioning import Provisioning
from logplex.api.refusal_counts import RefusalCounts
from logplex.api.v3.activity import ActivityRoutes, NodeActivity
from logplex.api.v3.operation import Health, OperationRoutes
from logplex.api.v3.site import v3_site
from logplex.clock import wall_s
from logplex.drains.service import DrainService
from logplex.inputs.frame_ids import FrameIds
from logplex.inputs.logs import logs_site
from logplex.inputs.syslog import SyslogFactory
from logplex.inputs.tls import ServerTls
from logplex.interfaces import IConfigStore, IReactor, ISpool
from logplex.journal.journal import Journal
from logplex.live import Live
from logplex.metrics import Counters, Sample, Source, counter_samples
from logplex.model.rods import Panel, Rods
from logplex.node.listeners import Listener, describe
from logplex.node.own_services import listening
from logplex.node.telemetry import MetricsChannel, channel_samples, metrics_site, rod_samples
from logplex.routing.firehose import Firehose
from logplex.routing.registry import Registry
from logplex.routing.router import Router
from logplex.settings import Limits, Settings
from logplex.tails.page import Sessions
from logplex.tails.service import Tails
from logplex.web import Site


@frozen
class Parts:
    """
    All parts of a node, which are not started yet.

    :ivar limits: the limits of the node. All parts share this object, so that SIGHUP can change the
        limits.
    :ivar rods: the positions of the control rods. All parts share this object.
    :ivar panel: changes the positions of the control rods.
    :ivar ports: the open ports.
    :ivar tls: the TLS of listeners; ``None`` if no listener uses it.
    :ivar sites: the HTTP sites, by the listener's name.
    :ivar journal: the journal with the messages of durable drains, not opened yet; ``None`` if the
        node has no journal.
    :ivar frame_ids: the ids of requests that were answered.
    """

    config: IConfigStore
    spool: ISpool
    limits: Live[Limits]
    rods: Live[Rods]
    panel: Panel
    registry: Registry
    drains: DrainService
    tails: Tails
    metrics_channel: MetricsChannel
    syslog: SyslogFactory
    tls: ServerTls | None
    sites: dict[str, Site]
    ports: list[IListeningPort]
    journal: Journal | None
    frame_ids: FrameIds

    def listeners(self, settings: Settings, reactor: IReactor) -> Iterator[Listener]:
        """Yield the ports that the node opens, each with the factory of its protocols."""
        factories: dict[str, IProtocolFactory] = {"syslog": self.syslog, **self.sites}
        if self.tls is not None:
            factories["syslog_tls"] = self.tls.factory(self.syslog, reactor)
        for name, endpoints in settings.listen.by_name().items():
            for endpoint in endpoints:
                yield Listener(name, endpoint, factories[name])


def assemble(
    settings: Settings,
    config: IConfigStore,
    spool: ISpool,
    counters: Counters,
    *,
    limits: Live[Limits],
    reactor: IReactor,
    redis_addresses: Iterable[tuple[str, int]] = (),
    sources: Iterable[Source] = (),
    journal: Journal | None = None,
) -> Parts:
    """
    Make all parts of a node, and connect them with one another.

    :param config: the configuration store, not opened yet; ``config.open(registry)`` loads it.
    :param spool: the spool; it must use the same counters.
    :param limits: the limits from the settings. SIGHUP replaces them.
    :param reactor: makes connections, and is the clock of all parts.
    :param redis_addresses: the addresses of the Redis servers that the node uses. The collection
        may grow; it is read again each time.
    :param sources: further sources of numbers for the page of metrics.
    :param journal: the journal, not opened yet; ``None`` if the node has no journal.
    :raise BadPem: a file of certificates that the settings name cannot be used.
    """
    rods = Live(settings.rods)
    registry = Registry()
    firehose = Firehose(settings.firehose, registry, rods, SystemRandom())
    router = Router(
        registry,
        spool,
        rods,
        counters,
        clock=reactor,
        limits=limits,
        firehose=firehose,
        take=journal.take if journal else None,
    )
    frame_ids = FrameIds(limits, reactor)
    ports: list[IListeningPort] = []
    drains = DrainService(
        registry,
        router.tell,
        counters,
        settings.drains,
        limits=limits,
        reactor=reactor,
        own_services=lambda: chain(listening(ports), redis_addresses),
        journal=journal,
    )
    tails = Tails(spool, config, reactor, limits, counters=counters)
    registry.observe_channels(tails)
    syslog = SyslogFactory(router.route, counters, limits, reactor)
    authenticator = Authenticator(
        registry.credential,
        [credential_from_file(each) for each in settings.credentials],
        settings.auth.key,
        Throttle(reactor, limits, counters),
    )
    panel = Panel(rods)
    tls = ServerTls(settings.tls) if settings.listen.syslog_tls else None
    health = Health(
        node=settings.node.name,
        clock=reactor,
        started_at_s=reactor.seconds(),
        registry=registry,
        rods=rods,
        troubles=lambda: [
            *config.troubles(),
            *spool.troubles(),
            *(journal.troubles() if journal else ()),
            *(tls.troubles(wall_s(reactor)) if tls else ()),
            *syslog.troubles(),
            *(trouble for name, site in sites.items() for trouble in site.troubles(name)),
        ],
        parts={
            "store": lambda: f"{config.name}; spool: {spool.name}",
            "listeners": lambda: [describe(port.getHost()) for port in ports],
            "drains": drains.states,
            "tails": tails.count,
        },
    )
    share = config.share_rods(panel.share)
    operation = OperationRoutes(
        health,
        panel,
        share,
        tails.end_all,
        replacement=spool.replacement,
        clock=reactor,
    )
    refused = [RefusalCounts(api, reactor) for api in ("api_v3", "api")]
    audit = Audit(settings.auth.log_api_user)
    provisioning = Provisioning(
        config,
        registry,
        spool,
        reactor,
        limits=limits,
        counters=counters,
        has_journal=journal is not None,
    )
    pages: dict[bytes, list[Source]] = {
        b"/metrics": [
            partial(counter_samples, counters),
            partial(_node_samples, registry, reactor, reactor.seconds()),
            partial(rod_samples, rods),
            drains.samples,
            tails.samples,
            config.samples,
            spool.samples,
            *([journal.samples] if journal else []),
            syslog.samples,
            firehose.samples,
            *sources,
            *([tls.samples] if tls else []),
        ],
        b"/metrics/channels": [partial(channel_samples, registry)],
        b"/metrics/drains": [drains.drain_samples],
    }
    sites = {
        "logs": logs_site(
            router,
            registry,
            authenticator,
            rods,
            counters=counters,
            limits=limits,
            clock=reactor,
            frame_ids=frame_ids,
        ),
        "api_v3": v3_site(
            provisioning,
            config,
            registry,
            spool,
            drains=drains,
            authenticator=authenticator,
            rods=rods,
            auth=settings.auth,
            urls=settings.urls,
            limits=limits,
            clock=reactor,
            audit=audit,
            refusals=refused[0],
            activity=ActivityRoutes(
                NodeActivity(
                    settings.node.name,
                    reactor.seconds(),
                    router.activity,
                    router.watch,
                    tails=tails.count_of,
                ),
                registry,
                drains,
                reactor,
            ),
            operation=operation,
        ),
        "api": legacy_site(
            provisioning,
            config,
            registry,
            authenticator,
            rods=rods,
            urls=settings.urls,
            limits=limits,
            clock=reactor,
            audit=audit,
            refusals=refused[1],
            session_page=Sessions(config, registry, rods, tails, urls=settings.urls).page,
        ),
        "metrics": metrics_site(pages, limits, reactor),
    }
    pages[b"/metrics"] += [partial(site.samples, name) for name, site in sites.items()]
    pages[b"/metrics"] += [each.samples for each in refused]
    return Parts(
        config=config,
        spool=spool,
        limits=limits,
        rods=rods,
        panel=panel,
        registry=registry,
        drains=drains,
        tails=tails,
        metrics_channel=MetricsChannel(
            settings.metrics.channel_id,
            settings.node.name,
            counters,
            router.tell,
            clock=reactor,
        ),
        syslog=syslog,
        tls=tls,
        sites=sites,
        ports=ports,
        journal=journal,
        frame_ids=frame_ids,
    )


def _node_samples(registry: Registry, clock: IReactorTime, started_s: float) -> Iterator[Sample]:
    """Yield the numbers that describe the node itself, for metrics."""
    about = {"version": __version__}
    yield Sample("logplex_info", "Which Logplex this is", 1, about)
    yield Sample(
        "logplex_uptime_seconds", "Since the start of the node", clock.seconds() - started_s
    )
    for kind, count in registry.counts().items():
        yield Sample("logplex_known", "What the registry knows, by kind", count, {"kind": kind})
