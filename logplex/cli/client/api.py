# SPDX-License-Identifier: Apache-2.0

"""
A client of API v3 for the ``logplex`` command. A request returns the node's answer, or raises the
failure that ends the command.
"""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Mapping
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

from attrs import field, frozen
from OpenSSL.SSL import Error as SSLError
from service_identity import VerificationError
from twisted.internet.defer import CancelledError, Deferred, maybeDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IResponse

from logplex import __version__
from logplex.cli.client.answers import WholeBody, read_whole
from logplex.cli.client.lines import harmless
from logplex.cli.failures import BadSettings, Failed, NotFound, Rejected, Unreachable
from logplex.waiting import within

#: The longest time until an answer begins, and the longest pause within it.
TIMEOUT_S = 30.0

USER_AGENT = f"logplex-cli/{__version__}"


@frozen
class Asker:
    """
    Send HTTP requests. An error message names the server but not the path, because the path may be
    a secret.
    """

    agent: IAgent
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
        Send a request, and return the response when its head has arrived.

        :param credential: the id and the password for HTTP basic authentication.
        :raise Unreachable: no response came.
        """
        sent = {
            "User-Agent": USER_AGENT,
            "Host": urlsplit(url).netloc.rpartition("@")[2],
            **headers,
        }
        if credential is not None:
            sent["Authorization"] = "Basic " + b64encode(":".join(credential).encode()).decode()
        producer = None if body is None else WholeBody(body)
        asked = maybeDeferred(
            self.agent.request,
            method.encode(),
            url.encode("ascii"),
            Headers({n: [v] for n, v in sent.items()}),
            producer,
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
        """Return the body of a response."""
        return await read_whole(response, self.clock, TIMEOUT_S)


@frozen
class Api:
    """
    API v3 of one node. Each method takes the parts of a path and returns the answer's JSON.

    :ivar url: the URL of the API, without a slash at the end.
    :ivar credential: the id and the password of the caller.
    """

    asker: Asker
    url: str
    credential: tuple[str, str] | None = field(default=None, repr=False)

    async def get(self, *path: str, **query: str | int) -> Any:
        """Send a ``GET`` request."""
        return await self._ask("GET", path, None, query)

    async def put(self, *path: str, **body: object) -> Any:
        """Send a ``PUT`` request with a JSON object."""
        return await self._ask("PUT", path, body)

    async def post(self, *path: str, **body: object) -> Any:
        """Send a ``POST`` request with a JSON object."""
        return await self._ask("POST", path, body)

    async def delete(self, *path: str) -> None:
        """Send a ``DELETE`` request."""
        await self._ask("DELETE", path, None)

    async def _ask(
        self,
        method: str,
        path: tuple[str, ...],
        body: object,
        query: Mapping[str, str | int] | None = None,
    ) -> Any:
        """
        Send a request, and return the JSON object of the answer; ``None`` for status 204.

        :raise BadSettings: the answer is not from API v3 of Logplex.
        :raise Failed: the node could not be reached, or rejected the request.
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
            why = _error_in(content) or self._not_logplex(f"status {response.code} and no reason")
            raise failure_of(response.code, why, self.credential is not None)
        if response.code == 204 and not content:
            return None
        try:
            answer = json.loads(content, object_hook=_Answer)
        except (ValueError, RecursionError):
            answer = None
        if not isinstance(answer, _Answer):
            raise BadSettings(self._not_logplex("something else than a JSON object"))
        return answer

    def _not_logplex(self, what: str) -> str:
        return f"{_origin(self.url)} answers with {what}: is --api the URL of API v3 of Logplex?"


def failure_of(status: int, why: str, with_credential: bool) -> Failed:
    """
    Return the failure for an HTTP answer whose status is not a success.

    :param why: the error text of the server; may be empty.
    :param with_credential: true if the request had a credential.
    """
    if status == 401:
        if with_credential:
            return Rejected("the credential is wrong, or not permitted to do this")
        return Rejected(
            "a credential is needed: --credential, LOGPLEX_CREDENTIAL, or your settings file"
        )
    text = harmless(why) or f"the server answered {status}"
    if status == 404:
        return NotFound(text)
    if status == 429 or status >= 500:
        return Unreachable(text)
    return Rejected(text)


class _Answer(dict[str, Any]):
    """A JSON object from API v3. Another program's object has other members."""

    def __missing__(self, name: str) -> Any:
        raise BadSettings(
            f'the answer has no member "{name}": is --api the URL of API v3 of Logplex?'
        )


def _error_in(content: bytes) -> str:
    """Return the error text in an answer of API v3, in one line; "" if there is none."""
    try:
        error = json.loads(content)["error"]
    except (ValueError, RecursionError, TypeError, KeyError):
        return ""
    return " ".join(error.split()) if isinstance(error, str) else ""


def _origin(url: str) -> str:
    """Return the scheme, host and port of a URL, which are not secret."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}"


def _leavable(asked: Deferred[Any]) -> Deferred[Any]:
    """
    Return a Deferred that fails with ``CancelledError`` when the Deferred is cancelled.

    Without it, a cancelled request can fail with any connection error, and look like a broken
    connection.
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
    """Return the first cause of an error. Twisted wraps errors of requests in nested lists."""
    reasons: Any = getattr(error, "reasons", None)
    if isinstance(reasons, list) and reasons:
        first: Any = reasons[0]
        return _innermost(getattr(first, "value", first))
    return error


def _why(error: BaseException) -> str:
    """Return the reason of a failed connection, in one line."""
    inner = _innermost(error)
    if isinstance(inner, VerificationError):
        return "its certificate is for another name"
    if isinstance(inner, SSLError):
        reasons = inner.args[0] if inner.args else ()
        return "; ".join(reason for *_, reason in reasons if reason) or "TLS fails"
    return " ".join(str(inner).split()).rstrip(".") or type(inner).__name__
