# SPDX-License-Identifier: Apache-2.0

"""
A node that may have few descriptors.
"""

from __future__ import annotations

import socket
from pathlib import Path

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node, twistd
from tests.integration.process import Child, until, within
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import line_framed, numbered


class DescriptorTests(IntegrationTestCase):
    """Under a limit of 256."""

    async def limited(self, ulimit: str) -> Node:
        node = Node(self.directory())
        self.addCleanup(node.kill)
        command = " ".join(f"'{each}'" for each in twistd("--config", node.config_file))
        shell = ["/bin/sh", "-c", f"{ulimit}; exec {command}"]
        node.child = Child.spawn(shell, node.directory)
        await within(node.child.seen(r"\bready: \d"), "the node is ready")
        node.find_ports()
        return node

    async def test_the_soft_limit_is_raised(self) -> None:
        node = await self.limited("ulimit -Sn 256")
        lines = Path(f"/proc/{node.child.pid}/limits").read_text().splitlines()
        (files,) = [line.split() for line in lines if line.startswith("Max open files")]
        self.assertEqual(files[3], files[4])
        self.assertNotEqual(files[3], "256")

    async def test_a_flood_of_connections_keeps_nobody_out(self) -> None:
        """Metrics and the API answer, and drains deliver."""
        node = await self.limited("ulimit -n 256")
        told = r"may have 256 open files; the connections of \[limits\] need \d+ more"
        await within(node.child.seen(told), "the lack is told")
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("c", [receiver.url])
        first = socket.create_connection(("127.0.0.1", node.ports["syslog"]))
        self.addCleanup(first.close)
        for _ in range(400):
            opened = socket.create_connection(("127.0.0.1", node.ports["syslog"]))
            self.addCleanup(opened.close)
        first.sendall(line_framed(numbered(token, [1])))
        await receiver.received(1)
        refused = 'logplex_connections_refused_for_descriptors_total{listener="syslog"}'

        async def counted() -> bool:
            return (await node.metrics()).get(refused, 0) > 100

        await until(counted, "refused connections are counted")
        self.assertEqual((await node.request("GET", "/v3/health")).status, 200)
        lines = [line for line in node.child.lines if "EMFILE" in line or "open files" in line]
        self.assertLessEqual(len(lines), 2, lines)
