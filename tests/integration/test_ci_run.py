"""
``.ci/run``: what its last line and its exit status say of what ``make`` did.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from tests.integration.process import ROOT

SCRIPT = ROOT / ".ci" / "run"

#: Stands for ``make``: lint and test end as the environment says.
MAKE = """#!/bin/sh
[ "$1" = lint ] && exit "$LINT"
echo "    test_that_prints ... PASSED (successes=9)"
echo "$SUMMARY"
exit "$TEST"
"""


class CiRunTests(SynchronousTestCase):
    """The script with a ``make`` that does nothing, and with all packages installed."""

    def setUp(self) -> None:
        self.commands = Path(self.mktemp()).resolve()
        self.commands.mkdir()
        wanted = re.findall(r"^  \[(\S+)\]=", SCRIPT.read_text("utf-8"), flags=re.MULTILINE)
        self.assertIn("redis-server", wanted)
        for name in wanted:
            command = self.commands / name
            command.write_text(MAKE if name == "make" else "#!/bin/sh\n")
            command.chmod(0o755)

    def assert_result(
        self, summary: str, last_line: str, status: int, lint: int = 0, test: int = 0
    ) -> None:
        path = f"{self.commands}{os.pathsep}{os.environ['PATH']}"
        environ = {"PATH": path, "SUMMARY": summary, "LINT": str(lint), "TEST": str(test)}
        done = subprocess.run([SCRIPT], env=environ, capture_output=True, timeout=60, check=False)
        self.assertEqual(done.stdout.decode().splitlines()[-1], last_line, summary)
        self.assertEqual(done.returncode, status, summary)

    def test_passed(self) -> None:
        self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 0)

    def test_skips(self) -> None:
        """What was skipped did neither; what was expected to fail did as it should."""
        summary = "PASSED (skips=2, expectedFailures=1, successes=40)"
        self.assert_result(summary, "41 passed, 0 failed", 0)

    def test_failed(self) -> None:
        summary = "FAILED (skips=1, failures=2, errors=1, successes=40)"
        self.assert_result(summary, "40 passed, 3 failed", 1, test=1)

    def test_lint(self) -> None:
        self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 1, lint=2)

    def test_nothing_ran(self) -> None:
        self.assert_result("PASSED", "0 passed, 0 failed", 1)

    def test_broken_off(self) -> None:
        """Without a summary, or killed after one, something has failed."""
        self.assert_result("", "0 passed, 1 failed", 1, test=2)
        self.assert_result("PASSED (successes=40)", "40 passed, 1 failed", 1, test=137)
