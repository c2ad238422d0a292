# SPDX-License-Identifier: Apache-2.0

"""
A real node: ``twistd logplex`` as a child process, on free ports, in a directory of its own.
"""

from __future__ import annotations

import json
import re
import signal
import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import treq
from attrs import frozen
from twisted.web.client import ResponseNeverReceived
from twisted.web.iweb import IResponse

from tests.integration.process import PATIENCE_S, Child, Ended, until, within

#: The listeners of a node, as ``[listen]`` names them.
LISTENERS = ("syslog", "logs", "api", "api_v3", "metrics")
CREDENTIAL = ("local", "password")

# What the node's log tells of its start; the only place that knows the wording.
_LISTENING = re.compile(r"listening: (\w+) on \S+ \S*:(\d+)$")
_READY = r"\bready: \d"

#: The options of a section, by their names.
Section = Mapping[str, Any]


def toml(sections: Mapping[str, Section]) -> str:
    """A settings file. Strings, numbers, truth values and lists are written as in JSON."""
    return "\n".join(
        f"[{name}]\n" + "".join(f"{key} = {json.dumps(value)}\n" for key, value in options.items())
        for name, options in sections.items()
    )


def twistd(*arguments: str | Path) -> list[str | Path]:
    """The command line of a node in the foreground, from this checkout and virtualenv."""
    command = Path(sys.executable).with_name("twistd")
    return [command, "--nodaemon", "--pidfile=", "logplex", *arguments]


@frozen
class Answer:
    """An answer of the API."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)


class Node:
    """
    A node that can be killed and started again on what it kept.

    :param directory: exists, and is the node's own: configuration and data.
    :param sections: options beside those that this class sets.
    """

    def __init__(self, directory: Path, sections: Mapping[str, Section] | None = None) -> None:
        self.directory = directory
        self.config_file = directory / "logplex.toml"
        self._sections: dict[str, dict[str, Any]] = {
            "node": {"name": "test-node"},
            "listen": dict.fromkeys(LISTENERS, "tcp:0:interface=127.0.0.1"),
            "store": {"url": f"sqlite:{directory / 'logplex.db'}"},
            "[credentials]": {  # an array of tables, in double brackets
                "id": CREDENTIAL[0],
                "password": CREDENTIAL[1],
                "permissions": ["full_api", "any_channel"],
            },
        }
        self.configure(sections or {})
        self.ports: dict[str, int] = {}
        self.child = Child()

    def configure(self, sections: Mapping[str, Section]) -> None:
        """Write these options into the settings file; the others stay."""
        for name, options in sections.items():
            self._sections.setdefault(name, {}).update(options)
        self.config_file.write_text(toml(self._sections))

    async def start(self, environ: Mapping[str, str] | None = None) -> None:
        """Start it, and wait until it is healthy."""
        self.child = Child.spawn(twistd("--config", self.config_file), self.directory, environ)
        await within(self.child.seen(_READY), "the node says that it is ready")
        self.find_ports()
        await until(self._healthy, "the node is healthy")

    def find_ports(self) -> None:
        """Read the node's ports, which it tells before it loads the configuration."""
        listening = filter(None, map(_LISTENING.search, self.child.lines))
        self.ports = {found[1]: int(found[2]) for found in listening}

    async def _healthy(self) -> bool:
        try:
            answer = await self.request("GET", "/v3/healthcheck")
        except ResponseNeverReceived:
            return False
        return answer.status == 200

    # How it ends.

    async def kill(self) -> None:
        """SIGKILL: it gets no chance to finish anything."""
        await self.child.end()

    async def terminate(self, seconds: float = PATIENCE_S) -> Ended:
        """SIGTERM: it finishes what it holds."""
        self.child.signal(signal.SIGTERM)
        return await within(self.child.ended(), "the node ends", seconds)

    # What it is asked.

    async def request(
        self,
        method: str,
        path: str,
        body: object = None,
        *,
        port: str = "api_v3",
        auth: tuple[str, str] | None = CREDENTIAL,
    ) -> Answer:
        """A request to one of its HTTP ports, over a connection of its own."""
        url = f"http://127.0.0.1:{self.ports[port]}{path}"
        json_body: dict[str, Any] = {} if body is None else {"json": body}
        response: IResponse = await treq.request(
            method, url, auth=auth, persistent=False, timeout=PATIENCE_S, **json_body
        )
        content = await treq.content(response)
        headers = {
            name.decode().lower(): values[-1].decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        return Answer(response.code, headers, content)

    async def channel(self, channel_id: str, drains: Iterable[str] = (), name: str = "app") -> str:
        """
        Make a channel with one token, and drains to these URLs.

        :return: the token.
        """
        made = await self.request("PUT", f"/v3/channels/{channel_id}", {"tokens": [name]})
        if made.status not in (200, 201):
            raise AssertionError(f"no channel: {made}")
        for url in drains:
            added = await self.request("POST", f"/v3/channels/{channel_id}/drains", {"url": url})
            if added.status != 201:
                raise AssertionError(f"no drain: {added}")
        token: str = made.json()["tokens"][name]
        return token

    async def metrics(self, path: str = "/metrics") -> dict[str, float]:
        """Its counters and gauges, by name and labels as they stand in the exposition."""
        answer = await self.request("GET", path, port="metrics", auth=None)
        samples = (
            line.rpartition(" ")
            for line in answer.body.decode().splitlines()
            if line and not line.startswith("#")
        )
        return {name: float(value) for name, _, value in samples}
