# SPDX-License-Identifier: Apache-2.0

"""
The legacy API's answers to errors (PROTOCOL §6): text in version 1, JSON in version 2. Some routes
have special answers.
"""

from __future__ import annotations

from typing import Any

from klein import Response

from logplex.api import refusals
from logplex.api.json import AUTHENTICATE, Headers, error_answer, text_answer
from logplex.api.names import TOKEN_NAME_RULE
from logplex.interfaces import StoreAway, StoreFailed
from logplex.model.destination import BadDestination
from logplex.model.session import BadSession

HTML_TYPE = "text/html"

#: These are answered in text on every route, of both versions.
_ALWAYS_TEXT = (
    refusals.BadHead,
    refusals.BadPath,
    refusals.NotAuthenticated,
    refusals.OtherOrigin,
    refusals.Unavailable,
    refusals.UnknownRoute,
    refusals.WrongMethod,
)

_ANSWERS: dict[type[Any], tuple[int, str]] = {
    refusals.BadBody: (400, "{}"),
    refusals.TooManyNames: (400, "{}"),
    refusals.BadHead: (400, "{}"),
    refusals.BadName: (400, TOKEN_NAME_RULE),
    refusals.BadPath: (404, "Not found"),
    BadSession: (400, "{}"),
    refusals.MissingName: (400, "'name' post param missing"),
    refusals.OtherOrigin: (403, "changes from pages of other sites are refused"),
    refusals.NotAuthenticated: (401, "Not Authorized"),
    refusals.NotPermitted: (403, "this credential is for another channel"),
    refusals.UnknownChannel: (404, "Not found"),
    refusals.UnknownDrain: (404, "Not found"),
    refusals.UnknownRoute: (404, "Not found"),
    refusals.WrongMethod: (404, "Not found"),
    refusals.DrainExists: (409, "Already exists"),
    BadDestination: (422, "Invalid drain destination: {}"),
    refusals.TooManyDrains: (422, "You have already added the maximum number of drains allowed"),
    refusals.TooManyTokens: (422, "You have already added the maximum number of tokens allowed"),
    refusals.TooManySessions: (429, "Too many sessions of this channel"),
    StoreAway: (503, "the store is away; a change may still take effect"),
    StoreFailed: (503, "{}"),
    refusals.Unavailable: (503, "{}"),
}

_ANSWERS_OF_ROUTES: dict[tuple[str, type[Any]], tuple[int, str]] = {
    ("show_channel_v2", refusals.UnknownChannel): (404, "Not Found"),
    ("delete_channel_v2", refusals.UnknownChannel): (404, "Not Found"),
    ("add_token_v2", refusals.UnknownChannel): (404, "Not Found"),
    ("add_token_v2", refusals.MissingName): (422, "NAME is a required field"),
    ("open_session_v2", refusals.UnknownChannel): (404, "Not Found"),
    ("open_canary_session", refusals.UnknownChannel): (404, "Not Found"),
    ("add_drain", refusals.UnknownChannel): (404, "No such channel"),
    ("attach_drain", refusals.UnknownChannel): (404, "Unknown drain."),
    ("attach_drain", refusals.UnknownDrain): (404, "Unknown drain."),
    ("health_check", StoreAway): (500, "Increment healthcheck counter failed"),
    ("health_check", StoreFailed): (500, "Increment healthcheck counter failed"),
}


def legacy_answer_to(error: BaseException | None, path: bytes, route: str = "") -> Response:
    """
    Return the legacy API's answer to an exception.

    :param route: the name of the route; empty if it is not known.
    """
    kind = type(error)
    code, why = _ANSWERS_OF_ROUTES.get((route, kind), _ANSWERS.get(kind, (500, "internal error")))
    why = why.format(error)
    headers: Headers = AUTHENTICATE if code == 401 else {}
    if isinstance(error, refusals.TooManySessions):
        headers = {"Retry-After": str(error.retry_after_s)}
    if path.startswith(b"/v2/") and not isinstance(error, _ALWAYS_TEXT):
        return error_answer(code, why, headers)
    return text_answer(code, why, HTML_TYPE, headers)
