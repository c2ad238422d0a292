# SPDX-License-Identifier: Apache-2.0

"""
The primary that Sentinels name.
"""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.interfaces import StoreAway
from logplex.redis.sentinel import TIMEOUT_S, SentinelAddress, SentinelEndpoint
from tests.redis.test_link import ScriptedEndpoint, command

QUESTION = command(b"SENTINEL", b"GET-MASTER-ADDR-BY-NAME", b"main")


def named(host: bytes, port: bytes) -> bytes:
    """The answer of a Sentinel."""
    return b"*2\r\n$%d\r\n%b\r\n$%d\r\n%b\r\n" % (len(host), host, len(port), port)


class SentinelEndpointTests(SynchronousTestCase):
    """Two Sentinels, and a primary."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.servers = {each: ScriptedEndpoint() for each in ("one:1", "two:2", "primary:6379")}
        self.sentinel = self.endpoint("redis+sentinel://one:1,two:2/main")

    def endpoint(self, url: str) -> SentinelEndpoint:
        return SentinelEndpoint(SentinelAddress.parse(url), self.endpoint_to, self.clock, 3.0)

    def endpoint_to(self, host: str, port: int, timeout_s: float) -> IStreamClientEndpoint:
        return self.servers[f"{host}:{port}"]

    def connecting(self, endpoint: SentinelEndpoint | None = None) -> Deferred[Any]:
        connecting = (endpoint or self.sentinel).connect(Factory.forProtocol(Protocol))
        self.addCleanup(self.cancel, connecting)
        return connecting

    def cancel(self, connecting: Deferred[Any]) -> None:
        connecting.addErrback(lambda _: None)
        connecting.cancel()

    def test_the_primary_is_asked_for(self) -> None:
        connecting = self.connecting()
        self.assertEqual(self.servers["one:1"].heard(), QUESTION)
        self.servers["one:1"].says(named(b"primary", b"6379"))
        self.successResultOf(connecting)
        self.assertEqual(self.servers["primary:6379"].attempts, 1)
        self.assertFalse(self.servers["one:1"].server.connected)

    def test_the_next_attempt_asks_another_sentinel(self) -> None:
        """The first one may not know yet that the primary has changed."""
        self.connecting()
        self.servers["one:1"].says(named(b"primary", b"6379"))
        self.connecting()
        self.assertEqual(self.servers["two:2"].heard(), QUESTION)

    def test_a_sentinel_that_is_away_is_skipped(self) -> None:
        self.servers["one:1"].refuses = True
        connecting = self.connecting()
        self.servers["two:2"].says(named(b"primary", b"6379"))
        self.successResultOf(connecting)

    def test_a_sentinel_that_does_not_answer_is_skipped(self) -> None:
        connecting = self.connecting()
        self.clock.advance(TIMEOUT_S)
        self.assertFalse(self.servers["one:1"].server.connected)
        self.servers["two:2"].says(named(b"primary", b"6379"))
        self.successResultOf(connecting)

    def test_the_failure_names_each_sentinel(self) -> None:
        self.servers["one:1"].refuses = True
        connecting = self.connecting()
        self.servers["two:2"].says(b"*-1\r\n")
        failed = str(self.failureResultOf(connecting, StoreAway).value)
        self.assertRegex(failed, "^Sentinel one:1: .+; Sentinel two:2: it knows no 'main'$")

    def test_a_password(self) -> None:
        """A Sentinel without password refuses it, and answers."""
        connecting = self.connecting(self.endpoint("redis+sentinel://u:secret@one:1/main"))
        self.assertEqual(self.servers["one:1"].heard(), command(b"AUTH", b"u", b"secret"))
        self.servers["one:1"].says(b"-ERR AUTH called without any password configured\r\n")
        self.assertEqual(self.servers["one:1"].heard(), QUESTION)
        self.servers["one:1"].says(named(b"primary", b"6379"))
        self.successResultOf(connecting)


class SentinelAddressTests(SynchronousTestCase):
    """URLs."""

    def test_everything(self) -> None:
        url = "rediss+sentinel://us%40er:p%2Fw@a:1,[::1]:2,b/ma%2Fin/3#shard"
        address = SentinelAddress.parse(url)
        sentinels = (("a", 1), ("::1", 2), ("b", 26379))
        self.assertEqual(address, SentinelAddress(sentinels, "ma/in", 3, "us@er", "p/w", True))
        self.assertNotIn("p/w", repr(address))
        self.assertEqual(str(address), "rediss+sentinel://a:1,[::1]:2,b:26379/ma/in/3")

    def test_the_least(self) -> None:
        address = SentinelAddress.parse("redis+sentinel://a/main")
        self.assertEqual(address, SentinelAddress((("a", 26379),), "main"))

    def test_a_password_alone(self) -> None:
        address = SentinelAddress.parse("redis+sentinel://:secret@a/main")
        self.assertEqual((address.user, address.password), ("", "secret"))
