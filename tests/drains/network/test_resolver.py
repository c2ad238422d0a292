# SPDX-License-Identifier: Apache-2.0

"""Looking up the addresses of drains' hosts."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet.address import IPv4Address, IPv6Address
from twisted.internet.interfaces import IHostnameResolver, IResolutionReceiver
from twisted.trial.unittest import SynchronousTestCase
from zope.interface import implementer
from zope.interface.verify import verifyObject

from logplex.drains.network.resolver import DaemonThreadPool, Resolver
from tests.doubles.resolver import DirectReactor, HeldPool


@implementer(IResolutionReceiver)
class Receiver:
    def __init__(self) -> None:
        self.events: list[Any] = []

    def resolutionBegan(self, resolutionInProgress: Any) -> None:
        self.events.append(resolutionInProgress.name)

    def addressResolved(self, address: Any) -> None:
        self.events.append(address)

    def resolutionComplete(self) -> None:
        self.events.append("complete")


class NamesTests(SynchronousTestCase):
    def setUp(self) -> None:
        self.asked: list[tuple[Any, ...]] = []
        self.answer: list[Any] = [
            (socket.AF_INET6, 1, 6, "", ("2001:db8::1", 80, 0, 0)),
            (socket.AF_INET, 1, 6, "", ("192.0.2.1", 80)),
        ]
        self.pool = HeldPool()
        self.reactor = DirectReactor()
        self.resolver = Resolver(self.reactor, self.getaddrinfo, self.pool)  # type: ignore[arg-type]
        self.names = self.resolver.of("app")

    def getaddrinfo(self, *args: Any) -> list[Any]:
        self.asked.append(args)
        if not self.answer:
            raise OSError("no such host")
        return self.answer

    def test_addresses(self) -> None:
        """They come in the system's order (RFC 6724)."""
        found = self.names.lookup("logs.example", 80)
        self.assertNoResult(found)
        self.pool.run()
        self.assertEqual(
            self.successResultOf(found),
            [IPv6Address("TCP", "2001:db8::1", 80), IPv4Address("TCP", "192.0.2.1", 80)],
        )
        self.assertTrue(self.pool.started)

    def test_literals(self) -> None:
        """An address takes no thread: where all of them wait, it does not."""
        for address in (
            IPv4Address("TCP", "192.0.2.1", 80),
            IPv6Address("TCP", "2001:db8::1", 80),
        ):
            self.assertEqual(self.successResultOf(self.names.lookup(address.host, 80)), [address])
        self.assertEqual(self.pool.held, [])

    def test_failure(self) -> None:
        self.answer = []
        found = self.names.lookup("logs.example", 80)
        self.pool.run()
        self.failureResultOf(found, OSError)

    def test_once_at_a_time(self) -> None:
        """One thread looks up a name, however many drains ask for it."""
        found = [self.names.lookup("logs.example", 80) for _ in range(5)]
        self.pool.run()
        for each in found:
            self.assertEqual(len(self.successResultOf(each)), 2)
        self.assertEqual(len(self.asked), 1)

    def test_cancelled(self) -> None:
        """A caller that gives up takes nothing from the others; a lookup that hangs holds one
        thread, however often its drain tries again."""
        gone = self.names.lookup("logs.example", 80)
        gone.addErrback(lambda _: None)
        gone.cancel()
        found = self.names.lookup("logs.example", 80)
        self.assertEqual(len(self.pool.held), 1)
        self.pool.run()
        self.assertEqual(len(self.successResultOf(found)), 2)

    def test_asked_again(self) -> None:
        """Nothing is remembered: a name may mean something else at the next connection."""
        for _ in range(2):
            found = self.names.lookup("logs.example", 80)
            self.pool.run()
            self.successResultOf(found)
        self.assertEqual(len(self.asked), 2)

    def test_resolver(self) -> None:
        verifyObject(IHostnameResolver, self.names)
        receiver = Receiver()
        self.names.resolveHostName(receiver, "logs.example", 80).cancel()
        self.pool.run()
        self.assertEqual(
            receiver.events,
            [
                "logs.example",
                IPv6Address("TCP", "2001:db8::1", 80),
                IPv4Address("TCP", "192.0.2.1", 80),
                "complete",
            ],
        )

    def test_resolver_fails(self) -> None:
        self.answer = []
        receiver = Receiver()
        self.names.resolveHostName(receiver, "logs.example", 80)
        self.pool.run()
        self.assertEqual(receiver.events, ["logs.example", "complete"])

    def test_threads_do_not_hold_up_the_end(self) -> None:
        self.assertTrue(DaemonThreadPool.threadFactory(target=int).daemon)

    def hosts(self) -> list[str]:
        """Return the hosts that threads have looked up, and forget them."""
        asked, self.asked = self.asked, []
        return [host for host, *_ in asked]

    def test_bound_of_a_channel(self) -> None:
        """A channel has two lookups at a time; its others wait, those of other channels do not."""
        for number in range(5):
            self.names.lookup(f"host-{number}.example", 80)
        found = self.resolver.of("other").lookup("logs.example", 80)
        self.assertEqual(len(self.pool.held), 3)
        self.pool.run()
        self.assertEqual(len(self.successResultOf(found)), 2)
        self.assertEqual(self.hosts(), ["host-0.example", "host-1.example", "logs.example"])
        self.pool.run()
        self.pool.run()
        self.assertEqual(self.hosts(), ["host-2.example", "host-3.example", "host-4.example"])
        self.assertEqual(self.resolver._channels, {})

    def test_waiting_in_vain(self) -> None:
        """A lookup for which no caller waits any more is not begun."""
        for number in range(3):
            looking = self.names.lookup(f"host-{number}.example", 80)
        looking.addErrback(lambda _: None)
        looking.cancel()
        self.pool.run()
        self.pool.run()
        self.assertEqual(self.hosts(), ["host-0.example", "host-1.example"])
        self.assertEqual((self.resolver._channels, self.resolver._waiting), ({}, {}))

    def test_slow_names(self) -> None:
        """A name that was slow takes no place of its channel, until it answers fast again."""
        self.names.lookup("slow.example", 80)
        self.reactor.advance(2)
        self.pool.run()
        for number in range(2):
            self.names.lookup(f"host-{number}.example", 80)
        self.names.lookup("slow.example", 80)
        self.assertEqual(len(self.pool.held), 3)
        self.pool.run()
        for number in range(2):
            self.names.lookup(f"host-{number}.example", 80)
        self.names.lookup("slow.example", 80)
        self.assertEqual(len(self.pool.held), 2)
