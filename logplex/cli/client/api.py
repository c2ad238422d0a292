"""
A client of API v3: one request, and its answer or why there is none.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from attrs import field, frozen
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from treq.client import HTTPClient
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from logplex import __version__
from logplex.cli.client.answers import WholeBody, read_whole
from logplex.cli.failures import Failed, NotFound, Rejected, Unreachable
from logplex.waiting import within

#: A request may take so long until its answer begins, and the answer may pause so long.
TIMEOUT_S = 30.0

USER_AGENT = f"logplex-cli/{__version__}"


@frozen
class Asker:
    """
    Asks over HTTP, and tells what went wrong without showing where exactly: a path can be secret.
    """

    client: HTTPClient
    clock: IReactorTime

    async def ask(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | None = None,
        credential: tuple[str, str] | None = None,
    ) -> IResponse:
        """
        The answer's head.

        :raise Unreachable: there is none.
        """
        asked: Deferred[Any] = self.client.request(
            method,
            url,
            headers=Headers({"User-Agent": [USER_AGENT]} | {n: [v] for n, v in headers.items()}),
            data=None if body is None else WholeBody(body),
            auth=credential,
            allow_redirects=False,
            unbuffered=True,
        )
        server = _origin(url)
        late = Unreachable(f"{server} does not answer within {TIMEOUT_S:.0f} s")
        try:
            response: IResponse = await within(_leavable(asked), TIMEOUT_S, self.clock, late)
        except (Unreachable, CancelledError):
            raise
        except Exception as error:
            raise Unreachable(f"{server} cannot be reached: {_why(error)}") from None
        return response

    async def content(self, response: IResponse) -> bytes:
        """The answer's body."""
        return await read_whole(response, self.clock, TIMEOUT_S)


@frozen
class Api:
    """API v3 of a node, for one caller."""

    asker: Asker
    url: str
    credential: tuple[str, str] | None = field(default=None, repr=False)

    async def get(self, *path: str, **query: str | int) -> Any:
        """Read something."""
        return await self._ask("GET", path, None, query)

    async def put(self, *path: str, **body: object) -> Any:
        """Put something there."""
        return await self._ask("PUT", path, body)

    async def post(self, *path: str, **body: object) -> Any:
        """Have something done."""
        return await self._ask("POST", path, body)

    async def delete(self, *path: str) -> None:
        """Delete something."""
        await self._ask("DELETE", path, None)

    async def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        body: object,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:
        """
        :return: what the answer's JSON says; ``None`` for an empty one.
        :raise Failed: it was not done.
        """
        target = "/".join(["/v3", *(quote(part, safe="") for part in path)])
        if query:
            target += "?" + urlencode(query)
        headers = {"Accept": "application/json"}
        sent = None
        if body is not None:
            headers["Content-Type"] = "application/json"
            sent = json.dumps(body).encode()
        response = await self.asker.ask(method, self.url + target, headers, sent, self.credential)
        content = await self.asker.content(response)
        if not 200 <= response.code < 300:
            raise failure_of(response.code, _error_in(content), self.credential is not None)
        return _parsed(content)


def failure_of(status: int, why: str, with_credential: bool) -> Failed:
    """
    What an answer that is no success means.

    :param why: what the server said.
    """
    if status == 401:
        if with_credential:
            return Rejected("the credential is wrong, or not permitted to do this")
        return Rejected("a credential is needed: --credential, LOGPLEX_CREDENTIAL, or the file")
    text = why or f"the server answered {status}"
    if status == 404:
        return NotFound(text)
    if status == 429 or status >= 500:
        return Unreachable(text)
    return Rejected(text)


def _parsed(content: bytes) -> Any:
    if not content:
        return None
    try:
        return json.loads(content)
    except (ValueError, RecursionError):
        raise Unreachable("the answer is no JSON: is this the URL of API v3?") from None


def _error_in(content: bytes) -> str:
    """What a refusal says, in one line; empty where it is not in JSON as API v3 says it."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return ""
    return " ".join(error.split()) if isinstance(error, str) else ""


def _origin(url: str) -> str:
    """The part of a URL that is no secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _leavable(asked: Deferred[Any]) -> Deferred[Any]:
    """
    The same, but who cancels it gets a ``CancelledError``. Of a client's own errors nobody can
    tell whether they come from that.
    """
    has_left = False

    def leave(_: object) -> None:
        nonlocal has_left
        has_left = True
        asked.cancel()

    def told(result: object) -> None:
        if not has_left:
            waiting.callback(result)

    waiting: Deferred[Any] = Deferred(leave)
    asked.addBoth(told)
    return waiting


def _innermost(error: BaseException) -> BaseException:
    """Where the trouble began. Twisted's failures of requests wrap each other in lists."""
    reasons: Any = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons:
        first: Any = reasons[0]
        return _innermost(getattr(first, "value", first))
    return error


def _why(error: BaseException) -> str:
    """A connection's trouble in one line."""
    inner = _innermost(error)
    if isinstance(inner, VerificationError):
        return "its certificate is for another name"
    if isinstance(inner, SSLError):
        reasons = inner.args[0] if inner.args else ()
        return "; ".join(reason for *_, reason in reasons if reason) or "TLS fails"
    return " ".join(str(inner).split()).rstrip(".") or type(inner).__name__
