# SPDX-License-Identifier: Apache-2.0

"""Commands as they are typed, against a node in memory."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from click.testing import CliRunner, Result

from logplex.cli.commands import logplex
from tests.doubles.api import ApiCase
from tests.doubles.runtime import memory_runtime

#: Of ``tests.doubles.api.FULL``.
CREDENTIAL = "full:secret"


class CliCase(ApiCase):
    """A node that serves API v3 on its port, and the commands."""

    def setUp(self) -> None:
        super().setUp()
        self.home = Path(self.mktemp())
        self.home.mkdir()
        self.runtime, self.net = memory_runtime(self.clock, {8002: self.v3}, self.home)

    def run_command(
        self,
        *arguments: str,
        credential: str | None = CREDENTIAL,
        environ: dict[str, str] | None = None,
    ) -> Result:
        """Run a command line and return its result, a failure too."""
        variables = {"LOGPLEX_CREDENTIAL": credential or "", **(environ or {})}
        result = CliRunner(env={**variables}).invoke(logplex, arguments, obj=self.runtime)
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        return result

    def lines(self, *arguments: str) -> list[str]:
        """Run a command that succeeds, and return its lines."""
        result = self.run_command(*arguments)
        self.assertEqual((0, ""), (result.exit_code, result.stderr), result.output)
        return result.stdout.splitlines()

    def json(self, *arguments: str) -> Any:
        """Run a command that succeeds with ``--json``, and return its value."""
        (line,) = self.lines(*arguments, "--json")
        return json.loads(line)

    def assertFails(self, status: int, text: str, result: Result) -> None:
        """It ends with this status, one line on standard error, and nothing else."""
        self.assertEqual(
            (status, f"logplex: {text}\n", ""), (result.exit_code, result.stderr, result.stdout)
        )
