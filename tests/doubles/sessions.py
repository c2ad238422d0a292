# SPDX-License-Identifier: Apache-2.0

"""
A node that shows sessions as was agreed on.
"""

from __future__ import annotations

import json
from typing import Any, cast

from attrs import Factory, frozen
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

#: How a stream goes on after what was written.
END, CUT, OPEN = "end", "cut", "open"


@frozen
class Stream:
    """The answer to one GET of a session."""

    text: bytes = b""
    then: str = END
    status: int = 200
    headers: dict[str, str] = Factory(lambda: {"Content-Type": "text/event-stream"})


def messages(*numbers: int) -> bytes:
    """Events whose text is their number."""
    return b"".join(b"id: %d\ndata: T app[web.1]: %d\n\n" % (each, each) for each in numbers)


class Sessions(Resource):
    """
    A node whose answers were agreed on.

    :ivar made: the bodies of the sessions.
    :ivar asked: ``Last-Event-ID`` of every GET.
    """

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.refusals: list[tuple[int, str]] = []
        self.streams: list[Stream] = []
        self.made: list[dict[str, Any]] = []
        self.asked: list[tuple[bytes, str | None]] = []

    def render_POST(self, request: Request) -> bytes:
        assert request.content is not None
        if self.refusals:
            code, why = self.refusals.pop(0)
            request.setResponseCode(code)
            return json.dumps({"error": why}).encode()
        self.made.append(json.loads(request.content.read()))
        request.setResponseCode(201)
        return json.dumps({"url": f"http://localhost:8001/sessions/{len(self.made)}"}).encode()

    def render_GET(self, request: Request) -> bytes | int:
        self.asked.append((request.path, request.getHeader("Last-Event-ID")))
        stream = self.streams.pop(0) if self.streams else Stream(then=OPEN)
        request.setResponseCode(stream.status)
        for name, value in stream.headers.items():
            request.setHeader(name, value)
        request.write(stream.text)
        if stream.then == END:
            request.finish()
        elif stream.then == CUT:
            # What was written arrives, and then nothing more.
            cast(Any, request.channel).transport.loseConnection()
        return NOT_DONE_YET
