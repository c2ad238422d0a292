# SPDX-License-Identifier: Apache-2.0

"""
The log on standard output, read and not read.
"""

from __future__ import annotations

import os
import pty
import socket
from pathlib import Path
from typing import Any

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.live import Live
from logplex.node.log_output import RETRY_S, LogOutput
from logplex.settings import Limits

LINE = "x" * 999 + "\n"


class LogOutputTests(SynchronousTestCase):
    """Standard outputs as a service manager, a shell or a container makes them."""

    def pipe(self) -> tuple[int, LogOutput]:
        reading, writing = os.pipe()
        self.addCleanup(os.close, reading)
        self.addCleanup(os.close, writing)
        return reading, LogOutput(writing)

    def read(self, descriptor: int, output: LogOutput) -> bytes:
        """Read everything that was written or waits."""
        os.set_blocking(descriptor, False)
        found = b""
        while True:
            output.flush()
            try:
                piece = os.read(descriptor, 65_536)
            except BlockingIOError:
                return found
            if not piece:
                return found
            found += piece

    def test_a_pipe(self) -> None:
        reading, output = self.pipe()
        output.write("one\ntwo é\n")
        self.assertEqual(self.read(reading, output), "one\ntwo é\n".encode())

    def test_a_pipe_that_is_not_read_costs_lines_and_does_not_block(self) -> None:
        """Dropped lines are counted, and a later reader is told of them."""
        reading, output = self.pipe()
        for _ in range(2_000):
            output.write(LINE)
        self.assertGreater(output.dropped, 800)
        kept = 2_000 - output.dropped
        self.assertGreaterEqual(kept * len(LINE), Limits().log_waiting_bytes - len(LINE))
        dropped = output.dropped
        self.assertEqual(self.read(reading, output), LINE.encode() * kept)
        output.write("later\n")
        told = b"logplex: %d lines of the log were dropped, because nothing read them\n" % dropped
        self.assertEqual(self.read(reading, output), told + b"later\n")

    def test_a_bound_is_exact(self) -> None:
        reading, output = self.pipe()
        os.write(output._descriptor, b"y" * 65_536)
        output.write("x" * (Limits().log_waiting_bytes - 1))
        output.write("1")
        self.assertEqual(output.dropped, 0)
        output.write("2")
        self.assertEqual(output.dropped, 1)
        self.assertEqual(self.read(reading, output)[-2:], b"x1")

    def test_the_bound_is_an_option(self) -> None:
        reading, output = self.pipe()
        os.write(output._descriptor, b"y" * 65_536)
        output.limits = Live(Limits(log_waiting_bytes=4))
        for line in ("12\n", "3", "4"):
            output.write(line)
        self.assertEqual(output.dropped, 1)
        self.assertEqual(self.read(reading, output)[-4:], b"12\n3")

    def test_lines_that_wait_are_written_when_there_is_room(self) -> None:
        """Without another line."""
        reading, output = self.pipe()
        clock: Any = Clock()
        clock.callFromThread = lambda call: call()
        output.reactor = clock
        os.write(output._descriptor, b"y" * 65_536)
        output.write("late\n")
        clock.advance(RETRY_S)
        os.read(reading, 65_536)
        clock.advance(RETRY_S)
        self.assertEqual(os.read(reading, 100), b"late\n")
        self.assertEqual(clock.getDelayedCalls(), [])

    def test_the_number_is_a_metric(self) -> None:
        _, output = self.pipe()
        output.dropped = 3
        (sample,) = output.samples()
        self.assertEqual((sample.name, sample.value), ("logplex_log_lines_dropped", 3))

    def test_a_reader_that_has_gone(self) -> None:
        reading, writing = os.pipe()
        self.addCleanup(os.close, writing)
        output = LogOutput(writing)
        os.close(reading)
        output.write("one\n")
        self.assertEqual(output.dropped, 1)

    def test_a_socket(self) -> None:
        """systemd's journal gives one."""
        ours, theirs = socket.socketpair()
        self.addCleanup(ours.close)
        self.addCleanup(theirs.close)
        output = LogOutput(ours.fileno())
        for _ in range(5_000):
            output.write(LINE)
        self.assertGreater(output.dropped, 0)
        kept = 5_000 - output.dropped
        self.assertEqual(self.read(theirs.fileno(), output), LINE.encode() * kept)
        self.assertTrue(ours.getblocking())

    def test_a_terminal(self) -> None:
        leader, follower = pty.openpty()
        self.addCleanup(os.close, leader)
        self.addCleanup(os.close, follower)
        output = LogOutput(follower)
        self.addCleanup(os.close, output._descriptor)
        for _ in range(2_000):
            output.write(LINE)
        self.assertGreater(output.dropped, 0)
        self.assertTrue(os.get_blocking(follower))

    def test_a_file(self) -> None:
        path = Path(self.mktemp())
        with path.open("ab") as file:
            output = LogOutput(file.fileno())
            output.write(LINE)
            output.write(LINE)
        self.assertEqual(path.read_text(), LINE * 2)

    def test_the_last_lines_are_waited_for_a_moment(self) -> None:
        _, output = self.pipe()
        for _ in range(200):
            output.write(LINE)
        output.flush_within(0.01)
        self.assertEqual(output.dropped, 0)

    def test_text_that_is_not_unicode(self) -> None:
        reading, output = self.pipe()
        output.write("\udcff\n")
        self.assertEqual(self.read(reading, output), b"\\udcff\n")
