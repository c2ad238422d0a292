# SPDX-License-Identifier: Apache-2.0

"""
The application of API v3: the names of its routes, and its answers to errors in the form
``{"error": …}``.
"""

from __future__ import annotations

from typing import Any

from klein import Response
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from logplex.api import refusals
from logplex.api.json import AUTHENTICATE, JSON_TYPE, Headers, error_answer
from logplex.api.names import TOKEN_NAME_RULE
from logplex.api.refusal_counts import remember_refusal
from logplex.api.routes import App
from logplex.interfaces import StoreAway, StoreFailed
from logplex.model.destination import BadDestination
from logplex.model.session import BadSession

_log = Logger()

#: The names of routes that the gate treats in a way of their own. This one is open to all, always.
HEALTH_CHECK = "health_check"
#: Tells the operators of a starting node what it waits for.
HEALTH = "health"
#: Open to credentials of one channel too.
LOGS = "logs"
ACTIVITY = "show_activity"
OPEN_SESSION = "open_session"
END_SESSION = "end_session"
#: Sends a message, which a control rod may forbid.
TEST_DRAIN = "test_drain"
#: Answered by a disabled API too: otherwise it could not be switched on again.
SHOW_RODS = "show_rods"
PUT_RODS = "put_rods"

_CHANNEL_ID_RULE = (
    "a channel's id has 1 to 128 printable ASCII characters, none of them ':', '/' or a space"
)
_CREDENTIAL_ID_RULE = (
    "a credential's id has 1 to 128 printable ASCII characters, none of them ':', '/' or a space;"
    " 'token' and 'auth_key' are taken"
)


_ANSWERS: dict[type[Any], tuple[int, str | None]] = {
    refusals.BadBody: (400, None),
    refusals.TooManyNames: (400, None),
    refusals.BadChannelId: (400, _CHANNEL_ID_RULE),
    refusals.BadCredentialId: (400, _CREDENTIAL_ID_RULE),
    BadDestination: (400, None),
    refusals.BadHead: (400, None),
    refusals.BadName: (400, TOKEN_NAME_RULE),
    refusals.BadPath: (400, None),
    BadSession: (400, None),
    refusals.NotAuthenticated: (401, "not authorized"),
    refusals.NotPermitted: (403, "this credential is for another channel"),
    refusals.UnknownChannel: (404, "channel not found"),
    refusals.UnknownCredential: (404, "credential not found"),
    refusals.UnknownDrain: (404, "drain not found"),
    refusals.UnknownRoute: (404, "not found"),
    refusals.UnknownToken: (404, "token not found"),
    refusals.UnknownSession: (404, "session not found"),
    refusals.WrongMethod: (405, "method not allowed"),
    refusals.CredentialExists: (409, "already exists"),
    refusals.DrainExists: (409, "already exists"),
    refusals.NoJournal: (409, "no drain can be durable: [journal] file is empty"),
    refusals.KeptInFile: (409, "this credential is kept in the settings file"),
    refusals.WrongType: (415, f"the content type must be {JSON_TYPE}"),
    refusals.TooManyDrains: (422, "maximum number of drains reached"),
    refusals.TooManyTokens: (422, "maximum number of tokens reached"),
    refusals.TooManySessions: (429, "too many sessions of this channel"),
    StoreAway: (503, "the store is away; a change may still take effect"),
    StoreFailed: (503, None),
    refusals.Unavailable: (503, None),
}


def answer_to(error: BaseException | None) -> Response:
    """Return API v3's answer to an exception."""
    code, why = _ANSWERS.get(type(error), (500, "internal error"))
    headers: Headers = {}
    if isinstance(error, refusals.NotAuthenticated):
        headers = AUTHENTICATE
    elif isinstance(error, refusals.WrongMethod):
        headers = {"Allow": ", ".join(error.allowed)}
    elif isinstance(error, refusals.TooManySessions):
        headers = {"Retry-After": str(error.retry_after_s)}
    return error_answer(code, why or str(error), headers)


class V3App(App):
    """
    An application of API v3. A slash at the end of a path is ignored. Errors are answered in JSON.
    """

    def __init__(self) -> None:
        super().__init__()
        self.url_map.strict_slashes = False
        self.on_error(refusals.RequestRefused, BadDestination, BadSession, StoreAway)(_refused)
        self.on_error(Exception)(_failed)


def _refused(routes: object, request: Request, failure: Failure) -> Response:
    remember_refusal(request, failure.value)
    return answer_to(failure.value)


def _failed(routes: object, request: Request, failure: Failure) -> Response:
    _log.failure("bug: API v3 failed", failure=failure)
    return answer_to(failure.value)
