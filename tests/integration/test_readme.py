# SPDX-License-Identifier: Apache-2.0

"""
The walk through the README, word for word: on a copy of the checkout, and on ports of its own, so
that it also passes beside a node that has the default ports.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
from errno import ECONNREFUSED
from pathlib import Path
from random import sample

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


def default_ports() -> list[int]:
    """Return every port that the README and the settings name: the node's, and its receiver's."""
    listen = Listen()
    endpoints = [listen.syslog, listen.logs, listen.api, listen.api_v3, listen.metrics]
    defaults = [int(text.split(":")[1]) for several in endpoints for text in several]
    return [*defaults, *map(int, re.findall(r'\("127\.0\.0\.1", (\d+)\)', blocks("sh")[0]))]


def other_ports() -> dict[str, str]:
    """Return a free port for each default one; none that the system gives to other processes."""
    free = (port for port in sample(range(12_000, 32_000), 1_000) if is_free(port))
    return {str(port): str(next(free)) for port in default_ports()}


def is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        return probe.connect_ex(("127.0.0.1", port)) == ECONNREFUSED


class WalkTests(SynchronousTestCase):
    """The commands of the README, and their output."""

    def setUp(self) -> None:
        self.ports = other_ports()

    def on_other_ports(self, text: str) -> str:
        """Return the text with a free port for each default one."""
        return re.sub(r"\b\d{4}\b", lambda found: self.ports.get(found[0], found[0]), text)

    def test_walk(self) -> None:
        output = self.walk(self.clone())
        for line in self.on_other_ports("".join(blocks("text"))).splitlines():
            # Two messages may well arrive in one batch, and so in one line.
            shown = re.escape(line.removeprefix("received: ")).replace("…", ".+")
            self.assertRegex(output, shown, output)

    def clone(self) -> Path:
        """Return what is in the repository, as if it had been cloned just now."""
        clone = Path(self.mktemp()).resolve()
        for name in CLONE:
            if (ROOT / name).is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "dropin.cache")
                shutil.copytree(ROOT / name, clone / name, ignore=ignored)
            else:
                shutil.copy(ROOT / name, clone / name)
        settings = clone / "etc" / "logplex.toml"
        settings.write_text(self.on_other_ports(settings.read_text("utf-8")), "utf-8")
        return clone

    def walk(self, directory: Path) -> str:
        """Everything that bash and its children write when it is given the README's commands."""
        environ = {
            "PATH": os.environ["PATH"],
            "HOME": str(Path.home()),
            "LC_ALL": "C.UTF-8",
            # The command's own defaults, on the other ports.
            "LOGPLEX_URL": f"http://localhost:{self.ports['8002']}",
            "LOGPLEX_LOGS_URL": f"http://localhost:{self.ports['8601']}",
        }
        commands = self.on_other_ports("".join(blocks("sh")))
        log = directory / "walk.log"
        with log.open("wb") as output:
            shell = subprocess.Popen(
                ["bash", "-c", commands],
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
