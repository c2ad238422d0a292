# SPDX-License-Identifier: Apache-2.0

"""
The routes of the legacy API, versions 1 and 2 (PROTOCOL §6).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from attrs import define
from klein import Response
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import IResource
from twisted.web.server import Request

from logplex.api.audit import REMOVED
from logplex.api.json import (
    json_answer,
    optional_strings,
    read_body,
    read_object,
    text_answer,
)
from logplex.api.legacy.refusals import HTML_TYPE, legacy_answer_to
from logplex.api.names import shown_tokens, url_with_port
from logplex.api.provisioning import Provisioning
from logplex.api.refusal_counts import remember_refusal
from logplex.api.refusals import BadBody, MissingName, NotPermitted, RequestRefused, UnknownChannel
from logplex.api.routes import App, admission_of
from logplex.hosts import host_and_port
from logplex.interfaces import IConfigStore, StoreAway
from logplex.live import Live
from logplex.model.destination import BadDestination
from logplex.model.rods import Rods
from logplex.model.session import BadSession, parse_session
from logplex.model.values import Drain, may_read
from logplex.routing.registry import Registry
from logplex.settings import Urls
from logplex.waiting import in_time

_log = Logger()

#: Gives the resource that answers for a session; called with its id and true if it may tail.
SessionPage = Callable[[str, bool], IResource]

#: The port of a drain that is given by its host alone.
DEFAULT_DRAIN_PORT = 514

_HOST = re.compile(r"[^\s@/?#\[\]\\]+")


def drain_url(body: dict[str, Any]) -> str:
    """
    Return the drain's URL in a request's body: the member ``url``, or a URL made from ``host`` and
    ``port``.

    :raise BadDestination: the body has neither ``url`` nor ``host`` and ``port``.
    """
    if "url" in body:
        if not isinstance(body["url"], str):
            raise BadDestination("'url' must be a string")
        return body["url"]
    host, port = body.get("host"), body.get("port", DEFAULT_DRAIN_PORT)
    if not isinstance(host, str) or not _HOST.fullmatch(host):
        raise BadDestination("'url' or 'host' is missing, or not a host")
    if isinstance(port, bool) or not isinstance(port, int | str) or not str(port).isdecimal():
        raise BadDestination("'port' must be a whole number")
    return f"syslog://{host_and_port(host, port)}"


@define(eq=False, repr=False, slots=False)
class Legacy:
    """
    The routes of the legacy API.

    :param urls: the public URLs of the APIs, which some answers contain.
    :param session_page: the resource that answers requests for sessions.
    """

    _provisioning: Provisioning
    _store: IConfigStore
    _registry: Registry
    _rods: Live[Rods]
    _clock: IReactorTime
    _urls: Urls
    _session_page: SessionPage

    app = App()

    @app.on("GET", "/healthcheck")
    async def health_check(self, request: Request) -> Response:
        await in_time(self._store.count_healthcheck(), self._clock)
        return json_answer(200, {"status": self._rods.now.legacy_api_status})

    # Channels and tokens.

    @app.on("POST", "/channels")
    async def create_channel(self, request: Request) -> Response:
        body = read_object(request)
        name = body.get("name", "")
        if not isinstance(name, str):
            raise BadBody("Channel name must be a string.")
        names = optional_strings(body, "tokens") or []
        channel, tokens = await self._provisioning.create_channel(name, names)
        admission_of(request).details["channel_id"] = channel.id
        shown = {"channel_id": int(channel.id), "tokens": shown_tokens(tokens)}
        return json_answer(201, shown)

    @app.on("GET", "/channels/<number:channel_id>/info")
    def show_channel(self, request: Request, channel_id: str) -> Response:
        self._check_channel(channel_id)
        drains = sorted(drain["url"] for drain in self._drains(channel_id))
        tokens = shown_tokens(self._registry.tokens_of(channel_id))
        return json_answer(200, {"channel_id": int(channel_id), "tokens": tokens, "drains": drains})

    @app.on("GET", "/v2/channels/<number:channel_id>")
    def show_channel_v2(self, request: Request, channel_id: str) -> Response:
        self._check_channel(channel_id)
        tokens = sorted((each.name, each.id) for each in self._registry.tokens_of(channel_id))
        return json_answer(
            200,
            {
                "channel_id": int(channel_id),
                "tokens": [{"name": name, "token": token} for name, token in tokens],
                "drains": self._drains(channel_id),
            },
        )

    @app.on("DELETE", "/channels/<number:channel_id>")
    async def delete_channel(self, request: Request, channel_id: str) -> Response:
        await self._provisioning.delete_channel(channel_id)
        return text_answer(200, "OK", HTML_TYPE)

    @app.on("DELETE", "/v2/channels/<number:channel_id>")
    async def delete_channel_v2(self, request: Request, channel_id: str) -> Response:
        await self._provisioning.delete_channel(channel_id)
        return text_answer(200, "", HTML_TYPE)

    @app.on("POST", "/channels/<number:channel_id>/token")
    async def add_token(self, request: Request, channel_id: str) -> Response:
        token = await self._provisioning.add_token(channel_id, _token_name(request))
        return text_answer(201, token.id, HTML_TYPE)

    @app.on("POST", "/v2/channels/<number:channel_id>/tokens")
    async def add_token_v2(self, request: Request, channel_id: str) -> Response:
        token = await self._provisioning.add_token(channel_id, _token_name(request))
        return json_answer(201, {"name": token.name, "token": token.id})

    # Drains.

    @app.on("POST", "/channels/<number:channel_id>/drains/tokens")
    async def reserve_drain(self, request: Request, channel_id: str) -> Response:
        drain = await self._provisioning.add_drain(channel_id)
        admission_of(request).details["drain_id"] = drain.id
        msg = "Successfully reserved drain token"
        return json_answer(201, {"id": drain.id, "token": drain.token, "msg": msg})

    @app.on("POST", "/v2/channels/<number:channel_id>/drains")
    async def add_drain(self, request: Request, channel_id: str) -> Response:
        url = drain_url(read_object(request))
        drain = await self._provisioning.add_drain(channel_id, url)
        admission_of(request).details["drain_id"] = drain.id
        return json_answer(201, _shown(drain))

    @app.on("POST", "/v2/channels/<number:channel_id>/drains/<drain_id:drain_id>")
    async def attach_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        body = read_object(request)
        drain = self._provisioning.drain(channel_id, drain_id)
        try:
            moved = await self._provisioning.move_drain(
                channel_id, drain_id, drain_url(body), limited=True
            )
        except BadDestination:
            if drain.url is None:
                await self._provisioning.delete_drain(channel_id, drain_id)
                admission_of(request).details[REMOVED] = "drain"
            raise
        return json_answer(201, _shown(moved))

    @app.on("DELETE", "/v2/channels/<number:channel_id>/drains/<drain_id:drain_id>")
    async def delete_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        await self._provisioning.delete_drain(channel_id, drain_id)
        return text_answer(200, "", HTML_TYPE)

    @app.on("POST", "/channels/<number:channel_id>/drains")
    def add_drain_v1(self, request: Request, channel_id: str) -> Response:
        return _gone("Creation")

    @app.on("POST", "/channels/<number:channel_id>/drains/<drain_id:drain_id>")
    def attach_drain_v1(self, request: Request, channel_id: str, drain_id: int) -> Response:
        return _gone("Creation")

    @app.on("GET", "/channels/<number:channel_id>/drains")
    def list_drains_v1(self, request: Request, channel_id: str) -> Response:
        return _gone("Listing")

    @app.on("DELETE", "/channels/<number:channel_id>/drains")
    def delete_drains_v1(self, request: Request, channel_id: str) -> Response:
        return _gone("Deletion")

    # Sessions.

    @app.on("POST", "/sessions")
    async def open_session(self, request: Request) -> Response:
        return text_answer(201, self._session_url(await self._open_session(request)), HTML_TYPE)

    @app.on("POST", "/v2/sessions")
    async def open_session_v2(self, request: Request) -> Response:
        return json_answer(201, {"url": self._session_url(await self._open_session(request))})

    @app.on("POST", "/v2/canary-sessions")
    async def open_canary_session(self, request: Request) -> Response:
        return json_answer(201, {"url": f"/v2/canary-fetch/{await self._open_session(request)}"})

    @app.on("OPTIONS", "/sessions/<session_id>", "preflight_session")
    @app.on("GET", "/sessions/<session_id>")
    def read_session(self, request: Request, session_id: str) -> IResource:
        return self._session_page(session_id, True)

    @app.on("GET", "/v2/canary-fetch/<session_id>")
    def read_canary_session(self, request: Request, session_id: str) -> IResource:
        return self._session_page(session_id, False)

    # Errors.

    @app.on_error(RequestRefused, BadDestination, BadSession, StoreAway)
    def refused(self, request: Request, failure: Failure) -> Response:
        remember_refusal(request, failure.value)
        route = admission_of(request).route.name
        return legacy_answer_to(failure.value, request.path, route)

    @app.on_error(Exception)
    def failed(self, request: Request, failure: Failure) -> Response:
        _log.failure("bug: the legacy API failed", failure=failure)
        return legacy_answer_to(failure.value, request.path)

    # Internals.

    def _check_channel(self, channel_id: str) -> None:
        if self._registry.channel(channel_id) is None:
            raise UnknownChannel

    def _drains(self, channel_id: str) -> list[dict[str, Any]]:
        return [_shown(each) for each in self._registry.drains_of(channel_id) if each.url]

    async def _open_session(self, request: Request) -> str:
        body = read_body(request)
        admission, session = admission_of(request), parse_session(body)
        if not may_read(admission.caller, session.channel_id):
            raise NotPermitted
        session_id = await self._provisioning.open_session(body, admission.caller)
        admission.details["channel_id"] = session.channel_id
        return session_id

    def _session_url(self, session_id: str) -> str:
        return f"{self._urls.api}/sessions/{session_id}"


def _token_name(request: Request) -> str:
    name = read_object(request).get("name")
    if not isinstance(name, str):
        raise MissingName
    admission_of(request).details["name"] = name
    return name


def _shown(drain: Drain) -> dict[str, Any]:
    """Return a drain for an answer of the legacy API. The drain's URL is shown with its port."""
    return {"id": drain.id, "token": drain.token, "url": url_with_port(drain.url or "")}


def _gone(what: str) -> Response:
    return text_answer(501, f"V1 Drain {what} API deprecated.", HTML_TYPE)
