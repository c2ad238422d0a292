# SPDX-License-Identifier: Apache-2.0

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

#: Stands for ``make``: each target ends as the environment says.
MAKE = """#!/bin/sh
case "$1" in
  lint) exit "$LINT" ;;
  coverage) echo "TOTAL 100 4 20 1 96%"; exit "$COVERAGE" ;;
  test-in-memory) echo "$2 $3" >>"$COMMANDS/others"; echo "$OTHER"; exit "$OTHER_STATUS" ;;
esac
echo "    test_that_prints ... PASSED (successes=9)"
echo "$SUMMARY"
exit "$TEST"
"""

#: Stands for the one Python that the machine has, and for another one.
PYTHON = """#!/bin/sh
case "$2" in *version_info*) echo 3.11 ;; esac
"""


class CiRunTests(SynchronousTestCase):
    """The script with a ``make`` that does nothing, and with all packages installed."""

    def setUp(self) -> None:
        self.commands = Path(self.mktemp()).resolve()
        self.commands.mkdir()
        wanted = re.findall(r"^  \[(\S+)\]=", SCRIPT.read_text("utf-8"), flags=re.MULTILINE)
        self.assertIn("redis-server", wanted)
        for name in wanted:
            self.install(name, MAKE if name == "make" else "#!/bin/sh\n")
        self.install("python3", PYTHON)
        # Those of the machine are not asked for.
        for version in ("3.12", "3.13"):
            self.install(f"python{version}", "#!/bin/sh\nexit 1\n")

    def install(self, name: str, script: str) -> None:
        command = self.commands / name
        command.write_text(script)
        command.chmod(0o755)

    def assert_result(
        self, summary: str, last_line: str, status: int, **environ: int | str
    ) -> list[str]:
        """Check the last line and the exit status; return all lines."""
        variables = {
            "PATH": f"{self.commands}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(self.commands),
            "COMMANDS": str(self.commands),
            "SUMMARY": summary,
            **dict.fromkeys(("LINT", "TEST", "COVERAGE", "OTHER_STATUS"), "0"),
            **{name.upper(): str(value) for name, value in environ.items()},
        }
        done = subprocess.run([SCRIPT], env=variables, capture_output=True, timeout=60, check=False)
        lines = done.stdout.decode().splitlines()
        self.assertEqual(lines[-1], last_line, summary)
        self.assertEqual(done.returncode, status, summary)
        return lines

    def test_passed(self) -> None:
        self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 0)

    def test_skips(self) -> None:
        """A skipped test counts as neither; a failure that is expected counts as passed."""
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

    def test_coverage(self) -> None:
        """Its number is in the output; too low a number fails."""
        lines = self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 0)
        self.assertIn("Branch coverage of the tests in memory: 96%", lines)
        self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 1, coverage=2)

    def test_other_python(self) -> None:
        """The tests in memory also run on each other Python, in a virtualenv of its own."""
        self.install("python3.12", "#!/bin/sh\n")
        lines = self.assert_result(
            "PASSED (successes=40)", "70 passed, 0 failed", 0, other="PASSED (successes=30)"
        )
        self.assertIn("Python: 3.11 (all tests), 3.12 (in memory)", lines)
        asked = (self.commands / "others").read_text()
        self.assertEqual(asked, "VENV=.venv-3.12 PYTHON=python3.12\n")

    def test_other_python_fails(self) -> None:
        self.install("python3.13", "#!/bin/sh\n")
        self.assert_result(
            "PASSED (successes=40)",
            "69 passed, 1 failed",
            1,
            other="FAILED (failures=1, successes=29)",
            other_status=1,
        )

    def test_other_python_runs_nothing(self) -> None:
        self.install("python3.12", "#!/bin/sh\n")
        self.assert_result("PASSED (successes=40)", "40 passed, 1 failed", 1, other_status=2)
        self.assert_result("PASSED (successes=40)", "40 passed, 0 failed", 1, other="PASSED")
