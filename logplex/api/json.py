# SPDX-License-Identifier: Apache-2.0

"""
Make answers in JSON and text, and read the body and the headers of a request.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any, TypeVar
from uuid import uuid4

from klein import Response
from twisted.web.server import Request

from logplex.api.refusals import BadBody, WrongType
from logplex.model.session import unique_members

Headers = Mapping[str | bytes, str | bytes | Sequence[str | bytes]]

_NONE: Headers = MappingProxyType({})
JSON_TYPE = "application/json"
TEXT_TYPE = "text/plain; charset=utf-8"
AUTHENTICATE: Headers = {"WWW-Authenticate": "Basic realm=Logplex"}

#: A client's request id is cut to this, and loses the characters that could harm a log.
MAX_REQUEST_ID_CHARACTERS = 128
_NOT_IN_REQUEST_IDS = re.compile(r"[^A-Za-z0-9._~:/+=@,-]")

_Wanted = TypeVar("_Wanted")


def json_answer(code: int, body: object, headers: Headers = _NONE) -> Response:
    """Return an HTTP answer with a value as JSON in its body."""
    return text_answer(code, json.dumps(body, separators=(",", ":")), JSON_TYPE, headers)


def error_answer(code: int, why: str, headers: Headers = _NONE) -> Response:
    """Return an HTTP answer with the reason of an error as JSON in its body."""
    return json_answer(code, {"error": why}, headers)


def text_answer(
    code: int, text: str, content_type: str = TEXT_TYPE, headers: Headers = _NONE
) -> Response:
    """Return an HTTP answer with plain text in its body."""
    body = text.encode()
    about: Headers = {"Content-Type": content_type, "Content-Length": str(len(body))}
    return Response(code, {**about, **headers}, body)


def header(request: Request, name: str) -> str | None:
    """
    Return the value of a header; the last value if the header is repeated. Replace bytes that are
    not UTF-8 by U+FFFD.
    """
    # The name is bytes: for a name in text Twisted decodes the value, and fails on such bytes.
    values = request.requestHeaders.getRawHeaders(name.encode())
    return values[-1].decode(errors="replace") if values else None


def request_id(request: Request) -> str:
    """
    Return the request id that the client sent, without characters that can damage a log. If there
    is none, return a new UUID.
    """
    theirs = _NOT_IN_REQUEST_IDS.sub("", header(request, "Request-Id") or "")
    return theirs[:MAX_REQUEST_ID_CHARACTERS] or str(uuid4())


def check_json_type(request: Request) -> None:
    """
    Check that the ``Content-Type`` header of a request says JSON.

    :raise WrongType: the content type is not JSON.
    """
    media_type = (header(request, "Content-Type") or "").partition(";")[0]
    if media_type.strip().lower() != JSON_TYPE:
        raise WrongType


def read_body(request: Request) -> bytes:
    """Return the whole body of a request, even if the body was read before."""
    if request.content is None:
        return b""
    request.content.seek(0)
    content: bytes = request.content.read()
    return content


def read_object(request: Request) -> dict[str, Any]:
    """
    Return the JSON object in the body of a request.

    :raise BadBody: the body is not JSON, or not an object.
    """
    try:
        content = read_body(request)
        body = json.loads(content, object_pairs_hook=unique_members)
        if not content.isascii() or b"\\u" in content or b"\0" in content:
            # Half of a surrogate pair passes as JSON, but cannot be encoded, so not kept or shown.
            json.dumps(body, ensure_ascii=False).encode()
    except (ValueError, RecursionError):
        raise BadBody("bad JSON") from None
    if not isinstance(body, dict):
        raise BadBody("invalid payload")
    return body


def read_members(request: Request, *known: str) -> dict[str, Any]:
    """
    Return the JSON object in the body of a request. The object may have only known members.

    :raise BadBody: the object has an unknown member, or the body is not a JSON object.
    """
    body = read_object(request)
    for name in body:
        if name not in known:
            good = f"; there are {', '.join(known)}" if known else ""
            raise BadBody(f"unknown member {name[:40]!r}{good}")
    return body


def member(body: dict[str, Any], name: str, kind: type[_Wanted]) -> _Wanted:
    """
    Return a member that the JSON object must have.

    :raise BadBody: the member is missing, or has another type.
    """
    value = optional_member(body, name, kind)
    if value is None:
        raise BadBody(f"'{name}' missing")
    return value


def optional_member(body: dict[str, Any], name: str, kind: type[_Wanted]) -> _Wanted | None:
    """
    Return a member that the JSON object may have; ``None`` if the member is absent.

    :raise BadBody: the member has another type, or is ``null``.
    """
    if name not in body:
        return None
    value = body[name]
    if not isinstance(value, kind) or isinstance(value, bool) is not (kind is bool):
        raise BadBody(f"'{name}' must be {_IN_WORDS[kind]}")
    return value


_IN_WORDS: dict[type[Any], str] = {
    str: "a string",
    int: "a whole number",
    bool: "true or false",
    list: "an array",
    dict: "an object",
}


def optional_strings(body: dict[str, Any], name: str) -> list[str] | None:
    """
    Return a member of the JSON object, an array of strings; ``None`` if the member is absent.

    :raise BadBody: the member is not an array of strings.
    """
    values = optional_member(body, name, list)
    if values is not None and not all(isinstance(each, str) for each in values):
        raise BadBody(f"'{name}' must be an array of strings")
    return values
