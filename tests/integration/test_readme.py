"""
The walk through in the README, word for word: on a copy of the checkout, with its default ports.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from logplex.settings import Listen
from tests.integration.process import ROOT

#: Most of it is ``make run`` in a clone where it never ran before.
TIMEOUT_S = 180

#: What the walk needs; not ``.venv``, not ``var``.
CLONE = (
    "logplex",
    "twisted",
    "etc",
    "setup.cfg",
    "pyproject.toml",
    "Makefile",
    "README.md",
    "LICENSE",
)


def blocks(language: str) -> list[str]:
    """The README's code blocks in this language."""
    pattern = rf"^```{language}\n(.*?)^```$"
    return re.findall(
        pattern, (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE | re.DOTALL
    )


def ports() -> list[int]:
    """Every port that the walk listens on: the node's defaults, and its receiver's."""
    listen = Listen()
    endpoints = [listen.syslog, listen.logs, listen.api, listen.api_v3, listen.metrics]
    defaults = [int(text.split(":")[1]) for several in endpoints for text in several]
    return [*defaults, *map(int, re.findall(r'\("127\.0\.0\.1", (\d+)\)', blocks("sh")[0]))]


class WalkTests(SynchronousTestCase):
    """What a reader of the README does, and sees."""

    def test_walk(self) -> None:
        self.assert_ports_free()
        output = self.walk(self.clone())
        for line in "".join(blocks("text")).splitlines():
            # Two messages may well arrive in one batch, and so in one line.
            shown = re.escape(line.removeprefix("received: ")).replace("…", ".+")
            self.assertRegex(output, shown, output)

    def clone(self) -> Path:
        """What is in the repository, as if it had been cloned just now."""
        clone = Path(self.mktemp()).resolve()
        for name in CLONE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(ROOT / name, clone / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, clone / name)
        return clone

    def assert_ports_free(self) -> None:
        """Fail with one clear line, rather than with somebody else's answers."""
        for port in ports():
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError as error:
                    self.fail(f"the README's walk needs its default ports: {port}: {error}")

    def walk(self, directory: Path) -> str:
        """Everything that bash and its children write when it is given the README's commands."""
        environ = {"PATH": os.environ["PATH"], "HOME": str(Path.home()), "LC_ALL": "C.UTF-8"}
        log = directory / "walk.log"
        with log.open("wb") as output:
            shell = subprocess.Popen(
                ["bash", "-c", "".join(blocks("sh"))],
                cwd=directory,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
            try:
                shell.wait(TIMEOUT_S)
            except subprocess.TimeoutExpired:
                self.fail(f"not within {TIMEOUT_S} s:\n{log.read_text('utf-8')}")
            finally:
                # The whole session: whatever of it is still there.
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(shell.pid, signal.SIGKILL)
        return log.read_text("utf-8")
