# SPDX-License-Identifier: Apache-2.0

"""
The routes of API v3 for channels, tokens, drains, logs and sessions (PROTOCOL §5).
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from attrs import asdict, define
from klein import Response
from twisted.internet.interfaces import IReactorTime
from twisted.web.resource import IResource
from twisted.web.server import Request

from logplex.api.json import (
    error_answer,
    json_answer,
    member,
    optional_member,
    optional_strings,
    read_body,
    read_members,
    text_answer,
)
from logplex.api.names import shown_tokens
from logplex.api.provisioning import Provisioning
from logplex.api.refusals import (
    BadBody,
    NotPermitted,
    UnknownChannel,
    UnknownDrain,
)
from logplex.api.routes import admission_of
from logplex.api.v3.app import END_SESSION, HEALTH_CHECK, LOGS, OPEN_SESSION, TEST_DRAIN, V3App
from logplex.api.v3.logs import LogsAnswer
from logplex.interfaces import IDrains, ISpool, StoreAway
from logplex.model.session import SESSION_FIELDS, parse_session
from logplex.model.values import CHANNEL_FLAGS, Drain, Token, may_read
from logplex.routing.registry import Registry
from logplex.settings import Urls
from logplex.waiting import in_time

#: The number of messages that ``GET …/logs`` gives without ``num``.
DEFAULT_LOGS = 100


@define(eq=False, repr=False, slots=False)
class ChannelRoutes:
    """
    The routes of API v3 for channels, tokens, drains, logs and sessions.

    :param drains: returns the status of each drain on this node.
    :param node: the name of the node.
    :param urls: the public URLs of the APIs, which some answers contain.
    """

    _provisioning: Provisioning
    _registry: Registry
    _spool: ISpool
    _drains: IDrains
    _clock: IReactorTime
    _urls: Urls
    _node: str

    app = V3App()

    @app.on("GET", "/v3/healthcheck", HEALTH_CHECK)
    def health_check(self, request: Request) -> Response:
        if not self._registry.ready:
            return text_answer(503, "SYSTEM BOOTING")
        if self._registry.leaving:
            return text_answer(503, "SYSTEM STOPPING")
        return text_answer(200, "OK")

    @app.on("GET", "/v3/channels/<channel_id>")
    def show_channel(self, request: Request, channel_id: str) -> Response:
        return json_answer(200, self._channel(channel_id))

    @app.on("PUT", "/v3/channels/<channel_id>")
    async def put_channel(self, request: Request, channel_id: str) -> Response:
        body = read_members(request, "tokens", "flags")
        names, flags = optional_strings(body, "tokens"), _flags(body)
        is_new = await self._provisioning.ensure_channel(channel_id, names, flags)
        details = admission_of(request).details
        if names is not None:
            details["tokens"] = ",".join(names)
        if flags is not None:
            details["flags"] = ",".join(sorted(flags))
        return json_answer(201 if is_new else 200, self._channel(channel_id))

    @app.on("DELETE", "/v3/channels/<channel_id>")
    async def delete_channel(self, request: Request, channel_id: str) -> Response:
        await self._provisioning.delete_channel(channel_id)
        return Response(204)

    @app.on("POST", "/v3/channels/<channel_id>/tokens")
    async def add_token(self, request: Request, channel_id: str) -> Response:
        name = member(read_members(request, "name"), "name", str)
        admission_of(request).details["name"] = name
        token = await self._provisioning.add_token(channel_id, name)
        return json_answer(200, {"token": token.id, "name": token.name})

    @app.on("GET", "/v3/channels/<channel_id>/tokens")
    def list_tokens(self, request: Request, channel_id: str) -> Response:
        if self._registry.channel(channel_id) is None:
            raise UnknownChannel
        tokens = self._registry.tokens_of(channel_id)
        return json_answer(200, {"tokens": [_shown_token(each) for each in tokens]})

    @app.on("DELETE", "/v3/channels/<channel_id>/tokens/<token_id>")
    async def delete_token(self, request: Request, channel_id: str, token_id: str) -> Response:
        await self._provisioning.delete_token(channel_id, token_id)
        return Response(204)

    @app.on("POST", "/v3/channels/<channel_id>/drains")
    async def add_drain(self, request: Request, channel_id: str) -> Response:
        body = read_members(request, "url", "durable")
        url = optional_member(body, "url", str)
        durable = optional_member(body, "durable", bool) or False
        drain = await self._provisioning.add_drain(channel_id, url, durable)
        admission_of(request).details["drain_id"] = drain.id
        path = f"/v3/channels/{quote(channel_id, safe='')}/drains/{drain.id}"
        return json_answer(201, _shown(drain), {"Location": self._urls.api_v3 + path})

    @app.on("PUT", "/v3/channels/<channel_id>/drains/<drain_id:drain_id>")
    async def move_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        body = read_members(request, "url", "durable")
        durable = optional_member(body, "durable", bool)
        url = member(body, "url", str) if durable is None else optional_member(body, "url", str)
        drain = await self._provisioning.move_drain(channel_id, drain_id, url, durable=durable)
        return json_answer(200, _shown(drain))

    @app.on("DELETE", "/v3/channels/<channel_id>/drains/<drain_id:drain_id>")
    async def delete_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        await self._provisioning.delete_drain(channel_id, drain_id)
        return Response(204)

    @app.on("GET", "/v3/channels/<channel_id>/drains/<drain_id:drain_id>")
    def show_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        drain = self._provisioning.drain(channel_id, drain_id)
        status = self._drains.status(drain.id)
        if status is None:
            raise UnknownDrain
        return json_answer(200, {**_shown(drain), "node": self._node, **asdict(status)})

    @app.on("POST", "/v3/channels/<channel_id>/drains/<drain_id:drain_id>/test", TEST_DRAIN)
    async def test_drain(self, request: Request, channel_id: str, drain_id: int) -> Response:
        read_members(request)
        drain = self._provisioning.drain(channel_id, drain_id)
        return json_answer(200, asdict(await self._drains.test(drain.id)))

    @app.on("GET", "/v3/channels/<channel_id>/logs", LOGS)
    async def logs(self, request: Request, channel_id: str) -> IResource:
        if self._registry.channel(channel_id) is None:
            raise UnknownChannel
        recent = await in_time(self._spool.recent(channel_id), self._clock)
        if not recent.complete:
            raise StoreAway("the channel's spool is away")
        messages = [message for _, message in recent.entries]
        return LogsAnswer(messages, _wanted_logs(request), self._clock)

    @app.on("POST", "/v3/sessions", OPEN_SESSION)
    async def open_session(self, request: Request) -> Response:
        read_members(request, *SESSION_FIELDS)
        body = read_body(request)
        admission, session = admission_of(request), parse_session(body)
        if not may_read(admission.caller, session.channel_id):
            raise NotPermitted
        try:
            session_id = await self._provisioning.open_session(body, admission.caller)
        except UnknownChannel:
            return error_answer(422, "channel not found")
        admission.details["channel_id"] = session.channel_id
        url = f"{self._urls.api}/sessions/{session_id}"
        return json_answer(201, {"url": url}, {"Location": url})

    @app.on("DELETE", "/v3/sessions/<session_id>", END_SESSION)
    async def end_session(self, request: Request, session_id: str) -> Response:
        await self._provisioning.end_session(session_id, admission_of(request).caller)
        return Response(204)

    def _channel(self, channel_id: str) -> dict[str, Any]:
        """Return a channel as JSON, without empty members."""
        channel = self._registry.channel(channel_id)
        if channel is None:
            raise UnknownChannel
        body: dict[str, Any] = {"channel": channel_id}
        tokens = shown_tokens(self._registry.tokens_of(channel_id))
        drains = [_shown(each) for each in self._registry.drains_of(channel_id) if each.url]
        if tokens:
            body["tokens"] = tokens
        if drains:
            body["drains"] = drains
        if channel.flags:
            body["flags"] = sorted(channel.flags)
        return body


def _shown_token(token: Token) -> dict[str, Any]:
    shown: dict[str, Any] = {"token": token.id, "name": token.name}
    if token.created_us:
        shown["created_at"] = token.created_us / 1_000_000
    return shown


def _shown(drain: Drain) -> dict[str, Any]:
    body: dict[str, Any] = {"id": drain.id, "token": drain.token}
    if drain.url is not None:
        body["url"] = drain.url
    if drain.durable:
        body["durable"] = True
    return body


def _flags(body: dict[str, Any]) -> frozenset[str] | None:
    flags = optional_strings(body, "flags")
    if flags is not None and not CHANNEL_FLAGS.issuperset(flags):
        raise BadBody(f"'flags' can be {', '.join(sorted(CHANNEL_FLAGS))}")
    return None if flags is None else frozenset(flags)


def _wanted_logs(request: Request) -> int:
    num = request.args.get(b"num", [b""])[0]
    # int() is quadratic in the digits; this many name more messages than any channel has.
    return int(num[:18]) if num.isdigit() else DEFAULT_LOGS
