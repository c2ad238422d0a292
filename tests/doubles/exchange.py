# SPDX-License-Identifier: Apache-2.0

"""One request to a site over memory, and its whole answer."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import h11
from attrs import frozen
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.server import Site


@frozen
class Answer:
    """
    One answer: status, headers, body.

    :ivar headers: names in lower case.
    :ivar closed: whether the server closed the connection.
    :ivar asked: the method, and the path without its query.
    """

    asked: tuple[str, str]
    code: int
    headers: dict[str, str]
    body: bytes
    closed: bool

    @property
    def json(self) -> Any:
        """The body as JSON, which the content type must promise."""
        if self.headers.get("content-type") != "application/json":
            raise AssertionError(f"not JSON: {self}")
        return json.loads(self.body)

    @property
    def text(self) -> str:
        return self.body.decode()


class Exchange:
    """A connection on which one request was sent; the answer may come later."""

    def __init__(self, site: Site, head: bytes, body: bytes, asked: tuple[str, str]) -> None:
        self._asked = asked
        self._transport = StringTransport()
        self._channel: Any = site.buildProtocol(None)
        self._channel.makeConnection(self._transport)
        self._channel.dataReceived(head)
        if body:
            self._channel.dataReceived(body)

    def lose(self, reason: Failure) -> None:
        """The client's connection is gone."""
        self._channel.connectionLost(reason)

    @property
    def is_answered(self) -> bool:
        """Return true if an answer has begun."""
        return bool(self._transport.value())

    def answer(self) -> Answer:
        """The answer, which must be whole by now."""
        reader = h11.Connection(h11.CLIENT)
        method, path = self._asked
        reader.send(h11.Request(method=method, target=path, headers=[("Host", "test")]))
        reader.send(h11.EndOfMessage())
        reader.receive_data(self._transport.value())
        response = reader.next_event()
        if not isinstance(response, h11.Response):
            raise AssertionError(f"no answer: {self._transport.value()!r}")
        body = b""
        while isinstance(event := reader.next_event(), h11.Data):
            body += event.data
        if not isinstance(event, h11.EndOfMessage):
            raise AssertionError(f"the answer does not end: {event}")
        return Answer(
            self._asked,
            response.status_code,
            {name.decode(): value.decode() for name, value in response.headers},
            body,
            self._transport.disconnecting,
        )


def send(
    site: Site, method: str, target: str, headers: Mapping[str, str], body: bytes | None = None
) -> Exchange:
    """
    Send a request over a new connection.

    :param target: path and query.
    :param headers: a surrogate in a value escapes a byte that is no UTF-8.
    :param body: ``None``: the head says that there is one, but it is not sent.
    """
    length = 10 if body is None else len(body)
    lines = [f"{method} {target} HTTP/1.1", "Host: localhost", f"Content-Length: {length}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    head = "\r\n".join([*lines, "", ""]).encode("utf-8", "surrogateescape")
    return Exchange(site, head, body or b"", (method, target.partition("?")[0]))
