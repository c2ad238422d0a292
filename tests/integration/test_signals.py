# SPDX-License-Identifier: Apache-2.0

"""
Signals to a real node, and a standard output that is not read.
"""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import Node, twistd
from tests.integration.process import Child, until, within
from tests.integration.receivers import Answer, HttpReceiver
from tests.integration.redis_server import free_port
from tests.integration.senders import line_framed, numbered, send

_OTHERS = (signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def catches(pid: int, number: int) -> bool:
    """Return true if a process catches or ignores a signal."""
    status = Path(f"/proc/{pid}/status").read_text()
    masks = [line.split()[1] for line in status.splitlines() if line[:6] in ("SigCgt", "SigIgn")]
    return any(int(mask, 16) >> (number - 1) & 1 for mask in masks)


class SignalTests(IntegrationTestCase):
    """One node."""

    async def test_signals_at_the_start_are_survived(self) -> None:
        """From the moment at which our code runs, and all the time until the node is ready."""
        node = Node(self.directory())
        self.addCleanup(node.kill)
        child = node.child = Child.spawn(twistd("--config", node.config_file), node.directory)

        async def caught() -> bool:
            return all(catches(child.pid, number) for number in _OTHERS)

        await until(caught, "the signals are caught")
        self.assertEqual(child.lines, [])
        ready = child.seen(r"\bready: \d")

        async def is_ready() -> bool:
            for number in _OTHERS:
                child.signal(number)
            return bool(ready.called)

        await until(is_ready, "the node is ready")
        await within(ready, "the node is ready")
        node.find_ports()
        self.assertEqual((await node.request("GET", "/v3/healthcheck")).status, 200)

    async def test_a_reload_without_changes_is_told(self) -> None:
        node = await self.node()
        node.child.signal(signal.SIGHUP)
        await within(node.child.seen("SIGHUP: nothing has changed"), "the reload is told")

    async def test_a_second_signal_is_told_and_a_third_ends_the_node(self) -> None:
        node = await self.node({"drains": {"flush_s": 60.0, "http_answer_timeout_s": 60.0}})
        receiver = self.receiver(HttpReceiver())
        receiver.script = lambda _: Answer(b"")
        token = await node.channel("c", [receiver.url])
        await send(node.ports["syslog"], line_framed(numbered(token, [1])))

        async def asked() -> bool:
            return bool(receiver.deliveries)

        await until(asked, "the drain waits for an answer")
        node.child.signal(signal.SIGTERM)
        await within(node.child.seen("shutting down"), "the node stops")
        node.child.signal(signal.SIGTERM)
        told = "SIGTERM: the node is stopping already"
        await within(node.child.seen(told), "the second is told")
        await within(node.child.seen("stopping: still flushing the drains"), "the step is told")
        node.child.signal(signal.SIGTERM)
        ended = await within(node.child.ended(), "the node ends")
        self.assertEqual(ended.status, -signal.SIGTERM)
        self.assertNotIn("Traceback", ended.output)

    async def test_a_standard_output_that_is_not_read_stops_nothing(self) -> None:
        ports = {name: free_port() for name in ("syslog", "logs", "api", "api_v3", "metrics")}
        listen = {name: f"tcp:{port}:interface=127.0.0.1" for name, port in ports.items()}
        node = Node(self.directory(), {"listen": listen})
        node.ports = ports
        command = [str(each) for each in twistd("--config", node.config_file)]
        process = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, cwd=node.directory
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)

        async def healthy() -> bool:
            try:
                return (await node.request("GET", "/v3/healthcheck")).status == 200
            except Exception:
                return False

        await until(healthy, "the node answers")
        # Each has a line in the log; a pipe holds 64 KiB.
        for number in range(500):
            channel_id = f"{number:0100}"
            made = await node.request("PUT", f"/v3/channels/{channel_id}", {})
            self.assertEqual(made.status, 201)
        metrics = await node.metrics()
        self.assertEqual(metrics["logplex_log_lines_dropped_total"], 0)
