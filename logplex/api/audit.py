"""
What the log says of requests: one line for every change, and, if wanted, one for every request.

A line never holds a token, a password, a session's URL or a drain's.
"""

from __future__ import annotations

import re

from attrs import frozen
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from logplex.api.routes import READING, Admission, admission_of
from logplex.web import Request

_log = Logger()

#: The detail of a route that refuses what is asked, but has removed something; its value says what.
REMOVED = "removed"

MAX_PATH_CHARACTERS = 200
MAX_USER_AGENT_CHARACTERS = 200

# Whoever knows a session's path may read it; a token in a path is somebody's mistake.
_SECRETS_IN_PATHS = re.compile(r"(?<=sessions/).+|(?<=canary-fetch/).+|(?<=/[td]\.).{8,}")


def public_path(path: bytes) -> str:
    """The path without what is secret in it, in printable ASCII and not long."""
    return _SECRETS_IN_PATHS.sub("…", _printable(path))[:MAX_PATH_CHARACTERS]


@frozen
class Journal:
    """
    Writes the lines.

    :param every_request: whether requests that change nothing get a line too.
    """

    every_request: bool = False

    def asked(self, request: Request, admission: Admission | None, refusal: object) -> None:
        """
        A request's head was judged. If it is for a change that goes through, that will be told.

        :param admission: what it was admitted to; ``None`` where it is refused.
        :param refusal: why it is refused.
        """
        if self.every_request:
            self._tell_request(request, admission, refusal)
        if admission is not None and request.method not in READING:
            request.notifyFinish().addCallbacks(
                _tell_change, _tell_interrupted, (request,), errbackArgs=(request,)
            )

    def _tell_request(self, request: Request, admission: Admission | None, refusal: object) -> None:
        agent = request.requestHeaders.getRawHeaders(b"User-Agent", [b"-"])[-1]
        _log.info(
            "request: request_id={request_id} method={method} route={route} path={path} {who}"
            " user_agent={user_agent!r}",
            request_id=_request_id(request.responseHeaders),
            method=_printable(request.method)[:20],
            route=admission.route.name if admission else "-",
            path=public_path(request.path),
            who=f"user={admission.caller.id or '-'}"
            if admission
            else f"error={type(refusal).__name__}",
            user_agent=_printable(agent)[:MAX_USER_AGENT_CHARACTERS],
        )


def _tell_change(_: object, request: Request) -> None:
    if request.code < 400:
        _tell(request, "done")
    elif request.code >= 500:
        _tell(request, f"failed with {request.code}, or perhaps not")
    elif REMOVED in admission_of(request).details:
        _tell(request, f"refused with {request.code}")


def _tell_interrupted(_: Failure, request: Request) -> None:
    _tell(request, "perhaps done, the client left before the answer")


def _tell(request: Request, outcome: str) -> None:
    admission = admission_of(request)
    about = {**admission.route.arguments, **admission.details}
    _log.info(
        "audit: {who} {what} {about} from {address}, request {request_id}: {outcome}",
        who=admission.caller.id,
        what=admission.route.name,
        about=" ".join(f"{name}={value}" for name, value in about.items()),
        address=request.address,
        request_id=_request_id(request.responseHeaders),
        outcome=outcome,
    )


def _request_id(headers: Headers) -> str:
    return headers.getRawHeaders("Request-Id", ["-"])[-1]


def _printable(text: bytes) -> str:
    return "".join(each if " " <= each <= "~" else "?" for each in text.decode("ascii", "replace"))
