# SPDX-License-Identifier: Apache-2.0

"""
The base of the integration tests: nodes and receivers that never outlive their test.
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import zip_longest
from pathlib import Path
from typing import Any, TypeVar

from twisted.trial.unittest import TestCase

from tests.integration.node import Node, Section
from tests.integration.process import until
from tests.integration.receivers import HttpReceiver, TcpReceiver

R = TypeVar("R", HttpReceiver, TcpReceiver)

#: Elements of two lists that unittest compares within a moment.
_LONG = 200


class IntegrationTestCase(TestCase):
    """A test with real processes and real sockets, and a bound on its time."""

    timeout = 60

    def assertListEqual(self, list1: list[Any], list2: list[Any], msg: Any = None) -> None:
        """
        Compare lists, and tell long ones apart at their first difference only.

        unittest looks for all differences, which takes it hours for thousands of messages; no bound
        on the test's time ends that.
        """
        if list1 == list2 or len(list1) + len(list2) <= _LONG:
            super().assertListEqual(list1, list2, msg)
            return
        pairs = enumerate(zip_longest(list1, list2))
        place, found = next((place, pair) for place, pair in pairs if pair[0] != pair[1])
        counts = f"{len(list1)} and {len(list2)} long, differ from {place} on"
        self.fail(f"{counts}: {found[0]!r:.200} != {found[1]!r:.200} : {msg or ''}")

    def directory(self) -> Path:
        """A new, empty directory."""
        directory = Path(self.mktemp()).resolve()
        directory.mkdir()
        return directory

    async def node(self, sections: Mapping[str, Section] | None = None) -> Node:
        """A node that runs and is healthy."""
        node = Node(self.directory(), sections)
        self.addCleanup(node.kill)
        await node.start()
        return node

    def receiver(self, receiver: R) -> R:
        """Make a receiver listen as long as the test runs."""
        receiver.up()
        self.addCleanup(receiver.close)
        return receiver

    async def counted(self, node: Node, name: str, value: float) -> None:
        """Wait until a metric of the node has reached a value, and see that it is no more."""
        seen = 0.0

        async def look() -> bool:
            nonlocal seen
            seen = (await node.metrics()).get(name, 0.0)
            return seen >= value

        await until(look, f"{name} is {value}")
        self.assertEqual(seen, value, name)

    async def shows(self, node: Node, name: str, value: float) -> None:
        """Wait until a metric of a node has this value."""

        async def look() -> bool:
            return (await node.metrics()).get(name) == value

        await until(look, f"{name} is {value}")
