# SPDX-License-Identifier: Apache-2.0

"""
The command line of ``twistd logplex``.
"""

from __future__ import annotations

import io
import os
import sys
from pathlib import Path

from twisted.application.service import IService
from twisted.logger import globalLogPublisher
from twisted.plugin import getPlugins
from twisted.trial.unittest import SynchronousTestCase

import logplex
from logplex.settings import Settings
from logplex.tap import Options, makeService
from tests.doubles.interfaces import LogLines


class OptionsTests(SynchronousTestCase):
    """From arguments to settings, or to one line and an exit status."""

    def setUp(self) -> None:
        self.patch(os, "environ", {})

    def parsed(self, *arguments: str) -> Options:
        options = Options()
        options.parseOptions(list(arguments))
        return options

    def file(self, toml: str) -> str:
        path = Path(self.mktemp())
        path.write_text(toml, "utf-8")
        return str(path)

    def test_without_file(self) -> None:
        self.assertEqual(self.parsed().settings, Settings())

    def test_file(self) -> None:
        path = self.file('[node]\nname = "n1"')
        self.assertEqual(self.parsed("--config", path).settings.node.name, "n1")
        self.assertEqual(self.parsed("-c", path).settings.node.name, "n1")

    def test_environment(self) -> None:
        self.patch(os, "environ", {"INSTANCE_NAME": "n2"})
        self.assertEqual(self.parsed().settings.node.name, "n2")

    def test_load_again(self) -> None:
        """The file is found again from any working directory, and read anew."""
        path = Path(self.file('[node]\nname = "n1"'))
        options = self.parsed("--config", str(path))
        path.write_text('[node]\nname = "n2"', "utf-8")
        self.assertTrue(Path(options["config"]).is_absolute())
        self.assertEqual(options.load().node.name, "n2")

    def test_mistake(self) -> None:
        """A string as the code of SystemExit goes to stderr, with the exit status 1."""
        path = self.file("[nodes]")
        with self.assertRaises(SystemExit) as caught:
            self.parsed("--config", path)
        self.assertEqual(
            caught.exception.code,
            f'logplex: {path}: [nodes]: unknown section; did you mean "node"?',
        )

    def test_version(self) -> None:
        output = io.StringIO()
        self.patch(sys, "stdout", output)
        with self.assertRaises(SystemExit) as caught:
            self.parsed("--version")
        self.assertEqual(caught.exception.code, 0)
        self.assertEqual(output.getvalue(), f"Logplex {logplex.__version__}\n")

    def test_help(self) -> None:
        self.assertIn("--config", str(Options()))


class PluginTests(SynchronousTestCase):
    """The plugin that ``twistd`` finds."""

    def setUp(self) -> None:
        self.patch(sys, "stdout", sys.stdout)

    def test_service(self) -> None:
        """The plugin leads to a service, made from settings and nothing else."""
        from twisted.application.service import IServiceMaker

        (maker,) = [each for each in getPlugins(IServiceMaker) if each.tapname == "logplex"]
        options = maker.options()
        path = Path(self.mktemp())
        path.write_text('[store]\nurl = "memory:"', "utf-8")
        options.parseOptions(["--config", str(path)])
        self.assertTrue(IService.providedBy(maker.makeService(options)))
        self.assertIs(maker.makeService, makeService)

    def test_unknown_variables(self) -> None:
        """The log of the start names variables that may be a slip."""
        self.patch(os, "environ", {"LOGPLEX_SHARDURLS": "redis://:hidden@localhost"})
        log = LogLines()
        globalLogPublisher.addObserver(log)
        self.addCleanup(globalLogPublisher.removeObserver, log)
        path = Path(self.mktemp())
        path.write_text('[store]\nurl = "memory:"')
        options = Options()
        options.parseOptions(["--config", str(path)])
        makeService(options)
        self.assertIn(
            "settings: LOGPLEX_SHARDURLS: unknown environment variable;"
            ' did you mean "LOGPLEX_SHARD_URLS"?',
            log.lines,
        )
        self.assertNotIn("hidden", "".join(log.lines))
