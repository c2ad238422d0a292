# SPDX-License-Identifier: Apache-2.0

"""``logplex.hosts``: hosts and ports as text."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from logplex.hosts import host_and_port, split_hosts


class HostAndPortTests(SynchronousTestCase):
    def test_name(self) -> None:
        self.assertEqual("logs.example:601", host_and_port("logs.example", 601))

    def test_ipv4(self) -> None:
        self.assertEqual("192.0.2.1:601", host_and_port("192.0.2.1", 601))

    def test_ipv6(self) -> None:
        """A URL cannot tell the colons of an address from the one before the port."""
        self.assertEqual("[2001:db8::1]:601", host_and_port("2001:db8::1", 601))


class SplitHostsTests(SynchronousTestCase):
    def test_hosts(self) -> None:
        found = split_hosts("a,b:2,[::1],[::1]:3", 1)
        self.assertEqual(found, [("a", 1), ("b", 2), ("::1", 1), ("::1", 3)])

    def test_mistakes(self) -> None:
        for text in ("", "a,", ":1", "a:0", "a:65536", "a:x", "u@a"):
            with self.assertRaises(ValueError):
                split_hosts(text, 1)
