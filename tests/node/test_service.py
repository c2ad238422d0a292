# SPDX-License-Identifier: Apache-2.0

"""The life of a node: what happens in which order, and what SIGHUP changes."""

from __future__ import annotations

import atexit
import signal
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import trustme
from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import MemoryReactorClock, StringTransport
from twisted.logger import Logger, LogPublisher, capturedLogs, formatEvent
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import IConfigListener, StoreUnusable
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.rods import Rods
from logplex.model.values import Change, Channel, Credential, Value
from logplex.node.assembly import assemble
from logplex.node.descriptors import Descriptors
from logplex.node.reload import LogFilter
from logplex.node.service import Node
from logplex.settings import (
    DrainSettings,
    FileCredential,
    Limits,
    Listen,
    Log,
    NodeSettings,
    Settings,
    SettingsError,
    Tls,
)
from tests.doubles.interfaces import DictConfigStore, LogLines, RecordingSpool, as_reactor


class SlowStore(DictConfigStore):
    """Loads when the test says so; remembers in which order it was used."""

    name = "a test's"

    def __init__(self, diary: list[str], directory: Path) -> None:
        super().__init__(Clock())
        self.diary = diary
        self.directory = directory
        self.loading: Deferred[None] = Deferred()
        self.committed: list[Change] = []
        self.committing: Deferred[None] = succeed(None)

    def open(self, listener: IConfigListener) -> Deferred[None]:
        self.listener = listener
        return self.loading

    def load(self, *values: Value) -> None:
        self.listener.loaded(values)
        self.loading.callback(None)

    def commit(self, changes: Sequence[Change], channel_id: str | None = None) -> Deferred[None]:
        self.committed.extend(changes)
        return self.committing

    def close(self) -> Deferred[None]:
        self.diary.append("store closed")
        return succeed(None)


class Spool(RecordingSpool):
    """Writes into the diary when it is closed, and then fails."""

    diary: list[str]

    def close(self) -> Deferred[None]:
        self.diary.append("spool closed")
        return fail(ZeroDivisionError())


class Reactor(MemoryReactorClock):
    """One whose threads are all this one."""

    def callFromThread(self, call: Callable[..., object], *args: object) -> None:
        self.callLater(0, call, *args)


class NodeTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.addCleanup(signal.signal, signal.SIGHUP, signal.getsignal(signal.SIGHUP))
        self.reactor = Reactor()
        self.directory = Path(self.mktemp())
        self.told = LogLines()
        self.log = LogPublisher(self.told)
        self.diary: list[str] = []
        self.store = SlowStore(self.diary, self.directory)
        self.settings = Settings(
            node=NodeSettings("test"), listen=Listen(syslog=("tcp:1", "tcp:2"))
        )
        self.exits: list[object] = []
        self.patch(atexit, "register", self.exits.append)

    def node(self) -> Node:
        spool = Spool()
        spool.diary = self.diary
        self.parts = assemble(
            self.settings,
            self.store,
            spool,
            Counters(),
            limits=Live(self.settings.limits),
            reactor=as_reactor(self.reactor),
        )
        log_filter = LogFilter(self.log, self.settings.log.level)
        return Node(
            self.parts,
            self.settings,
            as_reactor(self.reactor),
            lambda: self.load(),
            origin="logplex: F",
            log_filter=log_filter,
            descriptors=Descriptors(as_reactor(self.reactor), 1_000_000, self.parts.limits),
        )

    def load(self) -> Settings:
        """Read the settings, as SIGHUP does."""
        return self.settings

    def start(self) -> Node:
        node = self.node()
        node.privilegedStartService()
        node.startService()
        return node

    def lines(self, captured: Sequence[object]) -> list[str]:
        return [formatEvent(event) for event in captured]  # type: ignore[arg-type]

    def test_factories_that_start_are_not_logged(self) -> None:
        """Twisted logs every factory that is not told to be quiet."""
        self.start()
        self.assertTrue(self.reactor.tcpServers)
        for _, factory, *_ in self.reactor.tcpServers:
            self.assertFalse(getattr(factory, "noisy", True))

    def test_ports_are_open_before_the_store_is_loaded_but_syslog_is_not_read(self) -> None:
        self.start()
        ports = [port for port, *_ in self.reactor.tcpServers]
        self.assertEqual(sorted(ports), [1, 2, 8001, 8002, 8003, 8601])
        self.assertTrue(self.parts.syslog.paused)
        self.store.load()
        self.assertFalse(self.parts.syslog.paused)

    def test_the_log_says_what_runs(self) -> None:
        with capturedLogs() as captured:
            self.start()
            self.store.load(Channel("one"), Credential("me", "secret"))
        lines = "\n".join(self.lines(captured))
        for line in (
            "on node test",
            "store: a test's",
            "listening: syslog on ",
            "ready: 1 channel, 0 tokens, 0 drains, 1 credential",
        ):
            self.assertIn(line, lines)

    def test_a_node_without_credentials_makes_one(self) -> None:
        self.start()
        self.store.load()
        self.assertEqual(len(self.store.committed), 1)
        self.assertTrue((self.directory / "first-credential").exists())

    def test_a_node_is_not_ready_before_its_first_credential_works(self) -> None:
        self.store.committing = Deferred()
        self.start()
        self.store.load()
        self.assertFalse(self.parts.registry.ready)
        self.store.committing.callback(None)
        self.assertTrue(self.parts.registry.ready)

    def test_a_node_that_has_one_makes_none(self) -> None:
        self.start()
        self.store.load(Credential("me", "secret"))
        self.settings = evolve(self.settings, credentials=(FileCredential("me", "secret"),))
        self.store = SlowStore(self.diary, self.directory)
        self.start()
        self.store.load()
        self.assertEqual(self.store.committed, [])
        self.assertFalse(self.directory.exists())

    def test_a_store_that_is_unusable_ends_the_node_with_a_failure(self) -> None:
        self.start()
        with capturedLogs() as captured:
            self.store.loading.errback(StoreUnusable("the disk is on fire"))
        self.assertEqual(self.lines(captured), ["logplex: F: [store] url: the disk is on fire"])
        self.assertTrue(self.reactor.hasStopped)
        self.assertEqual(len(self.exits), 1)

    def test_a_node_that_stops_while_it_loads_does_not_fail(self) -> None:
        node = self.start()
        node.stopService()
        self.store.loading.errback(StoreUnusable("closed"))
        self.assertEqual(self.exits, [])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_a_stop_goes_on_if_a_part_fails(self) -> None:
        node = self.start()
        self.store.load(Credential("me", "secret"))
        self.successResultOf(node.stopService())
        self.assertEqual(self.diary, ["spool closed", "store closed"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.assertEqual(signal.getsignal(signal.SIGHUP), signal.SIG_IGN)

    def health(self, site: str, path: str) -> str:
        """Return the status line of a health check over a connection of its own."""
        transport = StringTransport()
        protocol: Any = self.parts.sites[site].buildProtocol(transport.getPeer())
        protocol.makeConnection(transport)
        protocol.dataReceived(f"GET {path} HTTP/1.1\r\nHost: h\r\n\r\n".encode())
        status: str = transport.value().partition(b"\r\n")[0].decode()
        protocol.connectionLost(Failure(ConnectionDone()))
        return status

    def test_a_stop_gives_load_balancers_time(self) -> None:
        """Health checks answer 503 while the ports are still open; then the node stops."""
        self.settings = evolve(self.settings, node=NodeSettings("test", drain_s=3.0))
        node = self.start()
        self.store.load(Credential("me", "secret"))
        checks = [("logs", "/healthcheck"), ("api_v3", "/v3/healthcheck")]
        self.assertEqual({self.health(*each) for each in checks}, {"HTTP/1.1 200 OK"})
        stopping = node.stopService()
        self.reactor.advance(2.9)
        self.assertNoResult(stopping)
        self.assertEqual(
            {self.health(*each) for each in checks}, {"HTTP/1.1 503 Service Unavailable"}
        )
        self.assertEqual(len(self.parts.ports), 6)
        self.assertFalse(self.parts.syslog.paused)
        self.assertEqual(self.diary, [])
        self.reactor.advance(0.1)
        self.reactor.advance(3)
        self.successResultOf(stopping)
        self.assertEqual(self.diary, ["spool closed", "store closed"])
        self.flushLoggedErrors(ZeroDivisionError)

    def test_a_node_that_is_not_ready_stops_at_once(self) -> None:
        self.settings = evolve(self.settings, node=NodeSettings("test", drain_s=3.0))
        self.successResultOf(self.start().stopService())
        self.flushLoggedErrors(ZeroDivisionError)

    def test_after_a_stop_nothing_is_scheduled(self) -> None:
        node = self.start()
        self.store.load(Credential("me", "secret"))
        node.stopService()
        self.flushLoggedErrors(ZeroDivisionError)
        self.reactor.advance(60)
        self.assertEqual(self.reactor.getDelayedCalls(), [])

    def sighup(self) -> list[str]:
        with capturedLogs() as captured:
            signal.raise_signal(signal.SIGHUP)
            self.reactor.advance(0)
        return self.lines(captured)

    def test_sighup_without_changes_is_told(self) -> None:
        self.start()
        self.store.load(Credential("me", "secret"))
        self.assertEqual(self.sighup(), ["SIGHUP: nothing has changed"])

    def test_sighup_tells_a_renewed_certificate(self) -> None:
        """The names of the files are the same."""
        path = Path(self.mktemp())

        def renew(end: datetime) -> None:
            leaf = trustme.CA().issue_cert("logs.example.com", not_after=end)
            leaf.private_key_and_cert_chain_pem.write_to_path(str(path))

        renew(datetime(2040, 1, 2, tzinfo=UTC))
        listen = evolve(self.settings.listen, syslog_tls=("tcp:3",))
        tls = Tls(certificate_file=str(path))
        self.settings = evolve(self.settings, listen=listen, tls=tls)
        self.start()
        self.store.load(Credential("me", "secret"))
        self.assertEqual(self.sighup(), ["SIGHUP: nothing has changed"])
        renew(datetime(2041, 3, 4, tzinfo=UTC))
        self.assertEqual(self.sighup(), ["SIGHUP: the new certificate is in use, until 2041-03-04"])
        path.write_text("")
        (line,) = self.sighup()
        self.assertRegex(line, "^SIGHUP: the old certificate stays: .tls. certificate_file: ")

    def test_sighup_takes_over_limits_and_rods_and_names_the_rest(self) -> None:
        self.start()
        self.store.load(Credential("me", "secret"))
        self.settings = evolve(
            self.settings,
            limits=Limits(drains_per_channel=9),
            rods=Rods(deny_logs_ingress=True),
            drains=DrainSettings(linger_s=1.0),
        )
        self.assertEqual(
            self.sighup(),
            [
                "SIGHUP: [limits] drains_per_channel has a new value",
                "SIGHUP: [drains] linger_s needs a restart",
                "SIGHUP: [rods] deny_logs_ingress has a new value",
            ],
        )
        self.assertEqual(self.parts.limits.now.drains_per_channel, 9)
        self.assertTrue(self.parts.rods.now.deny_logs_ingress)
        self.assertTrue(self.parts.syslog.paused)

    def test_the_level_of_the_log_is_kept_from_the_start_and_changed_by_sighup(self) -> None:
        self.settings = evolve(self.settings, log=Log("error"))
        self.start()
        log = Logger(observer=self.log)
        log.warn("one")
        self.settings = evolve(self.settings, log=Log("warn"))
        self.assertEqual(self.sighup(), ["SIGHUP: [log] level has a new value"])
        log.warn("two")
        self.assertEqual(self.told.lines, ["two"])

    def test_options_that_need_a_restart_are_named_until_there_is_one(self) -> None:
        self.start()
        self.store.load(Credential("me", "secret"))
        self.settings = evolve(
            self.settings, drains=DrainSettings(linger_s=1.0), rods=Rods(deny_tail_sessions=True)
        )
        self.sighup()
        self.assertEqual(self.sighup(), ["SIGHUP: [drains] linger_s needs a restart"])

    def test_a_mistake_in_the_file_changes_nothing(self) -> None:
        self.start()
        self.store.load(Credential("me", "secret"))

        def load() -> Settings:
            raise SettingsError("logplex: x.toml: [limits] oops: is no option")

        self.patch(self, "load", load)
        self.assertEqual(
            self.sighup(),
            ["SIGHUP: nothing changed: logplex: x.toml: [limits] oops: is no option"],
        )
