# SPDX-License-Identifier: Apache-2.0

"""
``twistd logplex`` as an operator and as systemd start it: what is said when it cannot start, and
sockets that were open before it.
"""

from __future__ import annotations

import re
import socket
import sys
from pathlib import Path

import treq

from tests.integration.cases import IntegrationTestCase
from tests.integration.node import toml, twistd
from tests.integration.process import PATIENCE_S, Child, until, within

#: Every listener off but for those that a test adds.
QUIET = dict.fromkeys(("syslog", "logs", "api", "api_v3", "metrics"), "")


#: What systemd does for a socket unit: descriptor 3, and variables meant for this process only.
ACTIVATE = """
import os, socket, sys
opened = socket.create_server(("127.0.0.1", 0))
os.dup2(opened.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1", "LISTEN_FDNAMES": "api"}
print("opened", opened.getsockname()[1], flush=True)
os.execv(sys.argv[1], sys.argv[1:])
"""


class CommandLineTests(IntegrationTestCase):
    """Real processes, started in directories of their own."""

    def start(self, *command: str | Path, environ: dict[str, str] | None = None) -> Child:
        child = Child.spawn(command, self.home, environ)
        self.addCleanup(child.end)
        return child

    def setUp(self) -> None:
        self.home = self.directory()

    def configured(self, **listen: str) -> Path:
        """A settings file with these listeners only."""
        file = self.home / "logplex.toml"
        file.write_text(toml({"listen": QUIET | listen, "store": {"url": "memory:"}}))
        return file

    async def test_mistake(self) -> None:
        """One line, the exit status 1, and nothing was begun."""
        file = self.home / "logplex.toml"
        file.write_text("[limits]\nsyslog_conections = 1")
        end = await within(self.start(*twistd("--config", file)).ended(), "it ends")
        self.assertEqual(
            end.output,
            f"logplex: {file}: [limits] syslog_conections: unknown option; "
            'did you mean "syslog_connections"?',
        )
        self.assertEqual(end.status, 1)
        self.assertEqual([path.name for path in self.home.iterdir()], ["logplex.toml"])

    async def test_mistake_of_a_daemon(self) -> None:
        """It is told before the process leaves its terminal."""
        command = [each for each in twistd() if each != "--nodaemon"]
        child = self.start(*command, environ={"API_STATUS": "off"})
        end = await within(child.ended(), "it ends")
        self.assertEqual(
            end.output,
            'logplex: API_STATUS: must be one of normal, read_only, disabled, not "off"',
        )
        self.assertEqual(end.status, 1)

    async def test_port_in_use(self) -> None:
        """One line that says which listener, and the exit status 1."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            child = self.start(*twistd("--config", self.configured(api_v3=taken)))
            end = await within(child.ended(), "it ends")
        self.assertRegex(end.output, r"logplex: /.+: \[listen\] api_v3 .*Address already in use$")
        self.assertNotIn("Traceback", end.output)
        self.assertEqual(end.status, 1)

    async def test_port_in_use_by_a_daemon(self) -> None:
        """The terminal is told that it failed, the log why; and no process is left."""
        with socket.create_server(("127.0.0.1", 0)) as other:
            taken = f"tcp:{other.getsockname()[1]}:interface=127.0.0.1"
            options: list[str | Path] = ["logplex", "--config", self.configured(api_v3=taken)]
            log, pid = self.home / "log", self.home / "pid"
            child = self.start(twistd()[0], f"--pidfile={pid}", f"--logfile={log}", *options)
            end = await within(child.ended(), "it ends")
        self.assertEqual(end.status, 1)
        self.assertRegex(end.output, "^An error has occurred: .*logplex: /.+")
        told = re.compile(r"logplex: /.+: \[listen\] api_v3 .*Address already in use")

        async def is_told() -> bool:
            # The daemon tells it after the process at the terminal has ended.
            return told.search(log.read_text()) is not None

        await until(is_told, "the log says why")
        self.assertNotIn("Traceback", log.read_text())
        self.assertFalse(pid.exists())

    async def test_socket_of_systemd(self) -> None:
        """A listener can be a socket that was opened before the node started."""
        file = self.configured(api_v3="systemd:domain=INET:name=api")
        command = [sys.executable, "-c", ACTIVATE, *twistd("--config", file)]
        child = self.start(*command)
        opened = await within(child.seen(r"^opened (\d+)$"), "the socket is open")
        listening = await within(child.seen(r"listening: api_v3 on .*:(\d+)$"), "it listens")
        await within(child.seen("ready:"), "it is ready")
        self.assertEqual(listening[1], opened[1])
        url = f"http://127.0.0.1:{opened[1]}/v3/healthcheck"
        answer = await treq.get(url, persistent=False, timeout=PATIENCE_S)
        self.assertEqual(await treq.content(answer), b"OK")
