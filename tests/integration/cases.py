"""
The base of the integration tests: nodes and receivers that never outlive their test.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TypeVar

from twisted.trial.unittest import TestCase

from tests.integration.node import Node, Section
from tests.integration.process import until
from tests.integration.receivers import HttpReceiver, TcpReceiver

R = TypeVar("R", HttpReceiver, TcpReceiver)


class IntegrationTestCase(TestCase):
    """A test with real processes and real sockets, and a bound on its time."""

    timeout = 60

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
