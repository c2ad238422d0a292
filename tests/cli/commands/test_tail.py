# SPDX-License-Identifier: Apache-2.0

"""``logplex tail``: what stands on the screen."""

from __future__ import annotations

import json
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Site

from logplex.cli.commands import logplex
from tests.doubles.runtime import memory_runtime
from tests.doubles.sessions import Sessions, Stream

LINES = (
    b"id: 1\ndata: T app[web.1]: one\ndata: more\n\n"
    b"id: 2\ndata: T heroku[router]: \x1b[31mtwo\x07\n\n"
    b"data: T logplex[1]: Error L11 (x)\n\n"
)


class TailTests(SynchronousTestCase):
    """Recent lines in every form."""

    def tail(self, *options: str, stream: Stream | None = None) -> Result:
        clock = Clock()
        node = Sessions()
        node.streams = [stream or Stream(LINES)]
        site = Site(node, reactor=clock)
        runtime, _ = memory_runtime(clock, {8002: site, 8001: site}, Path())
        arguments = ["tail", "shop", "--no-follow", *options]
        return CliRunner().invoke(logplex, arguments, obj=runtime, color=True)

    def shown(self, *options: str) -> bytes:
        result = self.tail(*options)
        self.assertEqual((0, ""), (result.exit_code, result.stderr), result.output)
        return result.stdout_bytes

    def test_into_a_file(self) -> None:
        """Lines are unchanged, byte for byte."""
        self.assertEqual(
            b"T app[web.1]: one\nmore\nT heroku[router]: \x1b[31mtwo\x07\n"
            b"T logplex[1]: Error L11 (x)\n",
            self.shown(),
        )

    def test_on_a_terminal(self) -> None:
        """Heads have colours, and harmful characters are replaced."""
        text = self.shown("--color", "always").decode()
        self.assertIn("\x1b[33m\x1b[22mT app[web.1]:\x1b[0m one\n    more\n", text)
        self.assertIn("\x1b[31mtwo�\x1b[0m\n", text)

    def test_json(self) -> None:
        """Each line is an object; notices have no id."""
        objects = [json.loads(line) for line in self.shown("--json").splitlines()]
        self.assertEqual(["1", "2", None], [each["id"] for each in objects])
        self.assertEqual(
            {"id": "1", "time": "T", "source": "app", "ps": "web.1", "message": "one\nmore"},
            objects[0],
        )

    def test_filters(self) -> None:
        text = self.shown("--ps", "web", "--ps", "worker")
        self.assertEqual(b"T app[web.1]: one\nmore\nT logplex[1]: Error L11 (x)\n", text)

    def test_nothing(self) -> None:
        result = self.tail(stream=Stream())
        self.assertEqual((0, ""), (result.exit_code, result.output))

    def test_remarks(self) -> None:
        """Remarks go to standard error."""
        result = self.tail(stream=Stream(b": 7 messages are gone\n\n"))
        self.assertEqual(("", "logplex: 7 messages are gone\n"), (result.stdout, result.stderr))
