# SPDX-License-Identifier: Apache-2.0

"""
A node alone whose disk is full.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node, Section, twistd
from tests.integration.process import Child, until, within
from tests.integration.receivers import HttpReceiver
from tests.integration.senders import line_framed, numbered, send

_BYTES = 400_000


class SmallDisk:
    """A file system of its own, in memory."""

    def __init__(self, path: Path) -> None:
        self.path = path
        command = ["mount", "-t", "tmpfs", "-o", f"size={_BYTES}", "logplex-test", str(path)]
        mounted = subprocess.run(command, capture_output=True, check=False)
        self.error = mounted.stderr.decode().strip() if mounted.returncode else ""

    def unmount(self) -> None:
        subprocess.run(["umount", "--lazy", str(self.path)], check=True)

    def fill(self) -> None:
        """Leave no room."""
        filling = os.open(self.path / "fill", os.O_WRONLY | os.O_CREAT)
        try:
            while True:
                os.write(filling, bytes(4_096))
        except OSError:
            pass
        finally:
            os.close(filling)

    def clear(self) -> None:
        """Make room again."""
        (self.path / "fill").unlink()


class FullDiskTests(IntegrationTestCase):
    """The database is on a small disk of its own."""

    skip = None if shutil.which("mount") and os.geteuid() == 0 else "mounting needs root"

    async def node_on_small_disk(self) -> tuple[Node, SmallDisk]:
        directory = self.directory()
        path = directory / "small"
        path.mkdir()
        disk = SmallDisk(path)
        if disk.error:
            self.skipTest(f"no file system can be mounted: {disk.error}")
        self.addCleanup(disk.unmount)
        sections: dict[str, Section] = {"store": {"url": f"sqlite:{path / 'logplex.db'}"}}
        node = Node(directory, sections)
        self.addCleanup(node.kill)
        await node.start()
        return node, disk

    async def refuses(self, node: Node) -> None:
        """See that writes are refused, with the reason, and that health tells it."""
        made = await node.request("PUT", "/v3/channels/new", {})
        self.assertEqual(made.status, 503)
        self.assertRegex(made.json()["error"], "SQLite: .*(full|I/O)")
        health = (await node.request("GET", "/v3/health")).json()
        self.assertRegex(" ".join(health["troubles"]), "the store fails: SQLite: ")
        self.assertGreater((await node.metrics())["logplex_store_failures_total"], 0)

    async def routes(self, node: Node, token: str, receiver: HttpReceiver, number: int) -> None:
        await send(node.ports["syslog"], line_framed(numbered(token, [number])))
        await receiver.received(number)

    async def writes_again(self, node: Node, channel_id: str = "later") -> None:
        async def look() -> bool:
            return (await node.request("PUT", f"/v3/channels/{channel_id}", {})).status == 201

        await until(look, "the API writes again")

        async def healthy() -> bool:
            return not (await node.request("GET", "/v3/health")).json()["troubles"]

        # The journal is opened again some seconds later.
        await until(healthy, "nothing is wrong any more", 30)

    async def test_while_the_node_runs(self) -> None:
        node, disk = await self.node_on_small_disk()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("c", [receiver.url])
        disk.fill()
        # There may be room left within the files of the database.
        for number in range(300):
            made = await node.request("PUT", f"/v3/channels/{number}", {"tokens": ["x" * 200]})
            if made.status == 503:
                break
        await self.refuses(node)
        await self.routes(node, token, receiver, 1)
        self.assertTrue([line for line in node.child.lines if "the store fails: SQLite" in line])
        disk.clear()
        await self.writes_again(node)

    async def test_at_the_start(self) -> None:
        """Also after a kill, which leaves changes in the write-ahead log alone."""
        node, disk = await self.node_on_small_disk()
        receiver = self.receiver(HttpReceiver())
        token = await node.channel("c", [receiver.url])
        for number in (1, 2):
            if number == 1:
                await node.terminate()
            else:
                await node.kill()
            disk.fill()
            await self.start_full(node)
            await self.routes(node, token, receiver, number)
            await self.refuses(node)
            disk.clear()
            await self.writes_again(node, f"later-{number}")

    async def start_full(self, node: Node) -> None:
        """Start a node that cannot be healthy."""
        node.child = Child.spawn(twistd("--config", node.config_file), node.directory)
        await within(node.child.seen(r"\bready: \d"), "the node is ready")
        node.find_ports()
