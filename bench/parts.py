# SPDX-License-Identifier: Apache-2.0

"""
The processes of a benchmark: a node, a sink, a generator of load, each of its own.
"""

from __future__ import annotations

import json
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.integration.node import CREDENTIAL, Node, Section
from tests.integration.process import Child, Ended, within
from tests.integration.redis_server import BUNDLED, INSTALLED, RedisServer

#: A run that takes longer is stuck.
_PATIENCE_S = 600.0


@asynccontextmanager
async def running_node(sections: Mapping[str, Section]) -> AsyncIterator[Node]:
    """A node with an empty store, gone at the end."""
    with tempfile.TemporaryDirectory(prefix="logplex-bench-") as directory:
        node = Node(Path(directory), sections)
        try:
            await node.start()
            yield node
        finally:
            await node.kill()


@asynccontextmanager
async def running_redis() -> AsyncIterator[RedisServer]:
    """A Redis that keeps nothing on disk, gone at the end."""
    executable = INSTALLED or BUNDLED
    if executable is None:
        raise SystemExit("this line of the benchmark needs redis-server")
    with tempfile.TemporaryDirectory(prefix="logplex-bench-") as directory:
        server = RedisServer(Path(directory), executable)
        try:
            await server.start()
            yield server
        finally:
            await server.kill()


class Sink:
    """A running :mod:`bench.sink`."""

    def __init__(self, child: Child, port: int) -> None:
        self.port = port
        self._child = child

    async def counted(self) -> dict[str, float]:
        """Return what has been received so far."""
        lines = len(self._child.lines)
        self._child.write("?")
        found = await within(self._child.seen(r"^{.*}$", after=lines), "the sink answers")
        counted: dict[str, float] = json.loads(found[0])
        return counted


@asynccontextmanager
async def running_sink(kind: str) -> AsyncIterator[Sink]:
    """A sink of this kind (``http`` or ``tcp``), gone at the end."""
    child = Child.spawn([sys.executable, "-m", "bench.sink", kind])
    try:
        found = await within(child.seen(r"^port (\d+)$"), "the sink listens")
        yield Sink(child, int(found[1]))
    finally:
        await child.end()


async def load(
    how: str,
    port: int,
    tokens: Sequence[str],
    messages: int,
    rate: float | None = None,
    connections: int = 1,
) -> dict[str, Any]:
    """Run :mod:`bench.load` to its end; what it says of itself."""
    more = ["--rate", str(rate)] if rate else []
    user = ":".join(CREDENTIAL)
    command = [sys.executable, "-m", "bench.load", how, "--port", str(port), "--user", user]
    command += ["--messages", str(messages), "--connections", str(connections)]
    child = Child.spawn([*command, *more, *tokens])
    try:
        ended: Ended = await within(child.ended(), "the load is sent", _PATIENCE_S)
        if ended.status:
            raise ended
        said: dict[str, Any] = json.loads(child.lines[-1])
        return said
    finally:
        await child.end()
