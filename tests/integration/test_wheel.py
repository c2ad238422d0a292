# SPDX-License-Identifier: Apache-2.0

"""
The wheel, as a user gets it: built from a copy of the source, alone in a new virtualenv.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

import logplex
from tests.integration.process import ROOT

#: What a build reads; nothing that an earlier build left behind.
SOURCE = ("logplex", "twisted", "setup.cfg", "pyproject.toml", "README.md", "LICENSE")


def run(directory: Path, *command: str | Path) -> str:
    """Return what a command writes to its standard output; it sees nothing of this checkout."""
    done = subprocess.run(
        command,
        cwd=directory,
        env={"PATH": "/usr/bin:/bin", "HOME": str(Path.home()), "LC_ALL": "C.UTF-8"},
        capture_output=True,
        timeout=240,
        check=False,
    )
    if done.returncode != 0:
        raise AssertionError(f"{command}: {done.stdout.decode()}\n{done.stderr.decode()}")
    return done.stdout.decode()


class WheelTests(SynchronousTestCase):
    """One wheel and one virtualenv for all questions: making them takes half a minute."""

    def test_wheel(self) -> None:
        directory = Path(self.mktemp()).resolve()
        source = directory / "source"
        for name in SOURCE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(ROOT / name, source / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, source / name)

        run(source, sys.executable, "-m", "build", "--wheel", "--outdir", directory)
        (wheel,) = directory.glob("*.whl")
        packed = set(zipfile.ZipFile(wheel).namelist())
        present = {
            str(path.relative_to(source))
            for package in ("logplex", "twisted")
            for path in (source / package).rglob("*")
            if path.is_file()
        }
        self.assertEqual(present - packed, set())
        self.assertNotIn("twisted/__init__.py", packed)
        run(directory, sys.executable, "-m", "venv", "clean")
        python = directory / "clean" / "bin" / "python"
        twistd = directory / "clean" / "bin" / "twistd"
        run(directory, python, "-m", "pip", "install", "--quiet", wheel)

        version = run(directory, twistd, "logplex", "--version")
        self.assertEqual(version, f"Logplex {logplex.__version__}\n")
        help_text = run(directory, twistd, "logplex", "--help")
        self.assertIn("-c, --config=", help_text)
        command = run(directory, directory / "clean" / "bin" / "logplex", "--version")
        self.assertEqual(command, f"logplex, version {logplex.__version__}\n")
        command = run(directory, directory / "clean" / "bin" / "logplex", "--version")
        self.assertIn(logplex.__version__, command)
        where = run(directory, python, "-c", "import logplex.tap; print(logplex.tap.__file__)")
        self.assertTrue(where.startswith(str(directory / "clean")), where)
        run(directory, python, "-m", "pip", "check")
