# SPDX-License-Identifier: Apache-2.0

"""
The log lines of an API: one line for every change and for every export of the configuration. An
option adds a line for every request.

A line never contains a token, a password, or the URL of a session or a drain.
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

#: Routes that change nothing, but answer with every secret.
_SHOWING_SECRETS = frozenset({"export_configuration"})

#: A detail of a route that refuses a request, but has removed something; its value names it.
REMOVED = "removed"

#: The variables of routes whose values are secrets; a line shows the beginning only.
_SECRET_ARGUMENTS = frozenset({"session_id", "token_id"})
SHOWN_OF_SECRETS = 6

MAX_PATH_CHARACTERS = 200
#: A longer value, such as the names of a thousand tokens, is cut.
MAX_DETAIL_CHARACTERS = 500
MAX_USER_AGENT_CHARACTERS = 200

# The path of a session is the right to read it, and tokens are the right to write.
_SECRETS_IN_PATHS = re.compile(r"(?<=sessions/).+|(?<=canary-fetch/).+|(?<=/[td]\.).{8,}")


def public_path(path: bytes) -> str:
    """
    Return a request's path for the log: in printable ASCII, without secrets, and shortened to a
    bound.
    """
    return _SECRETS_IN_PATHS.sub("…", _printable(path))[:MAX_PATH_CHARACTERS]


@frozen
class Audit:
    """
    Write log lines about the requests of an API.

    :param every_request: true to write a line for every request, even if the request changes
        nothing.
    """

    every_request: bool = False

    def judged(self, request: Request, admission: Admission | None, refusal: object) -> None:
        """
        Log a request that has just been admitted or refused. If an admitted request changes
        something or shows secrets, write an audit line when the request is answered.

        :param admission: the admission; ``None`` if the request is refused.
        :param refusal: the reason for the refusal.
        """
        if self.every_request:
            self._tell_request(request, admission, refusal)
        if admission is not None and _is_audited(request, admission):
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


def _is_audited(request: Request, admission: Admission) -> bool:
    return request.method not in READING or admission.route.name in _SHOWING_SECRETS


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
    for name in _SECRET_ARGUMENTS & about.keys():
        about[name] = f"{_printable(str(about[name]).encode())[:SHOWN_OF_SECRETS]}…"
    _log.info(
        "audit: {who} {what} {about} from {address}, request {request_id}: {outcome}",
        who=admission.caller.id,
        what=admission.route.name,
        about=" ".join(f"{name}={_cut(str(value))}" for name, value in about.items()),
        address=request.address,
        request_id=_request_id(request.responseHeaders),
        outcome=outcome,
    )


def _cut(text: str) -> str:
    """Shorten a long text. The result ends with the length of the whole text."""
    if len(text) <= MAX_DETAIL_CHARACTERS:
        return text
    return f"{text[:MAX_DETAIL_CHARACTERS]}…({len(text)})"


def _request_id(headers: Headers) -> str:
    return headers.getRawHeaders("Request-Id", ["-"])[-1]


def _printable(text: bytes) -> str:
    return "".join(each if " " <= each <= "~" else "?" for each in text.decode("ascii", "replace"))
