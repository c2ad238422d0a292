# SPDX-License-Identifier: Apache-2.0

"""
The routes of API v3 for the credentials in the store. A password is shown only once, when it is
made.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from secrets import token_hex
from typing import Any, TypeVar
from urllib.parse import quote

from attrs import define, field
from klein import Response
from twisted.internet.defer import Deferred, DeferredLock
from twisted.internet.interfaces import IReactorTime
from twisted.web.server import Request

from logplex.access.authenticator import Authenticator
from logplex.access.credentials import Made, make_credential, with_new_password
from logplex.api.json import (
    error_answer,
    json_answer,
    optional_member,
    optional_strings,
    read_members,
)
from logplex.api.names import MAX_CREDENTIAL_NAME_CHARACTERS, is_credential_name
from logplex.api.refusals import (
    BadBody,
    BadCredentialId,
    CredentialExists,
    KeptInFile,
    UnknownCredential,
)
from logplex.api.routes import admission_of
from logplex.api.v3.app import V3App
from logplex.interfaces import IConfigStore
from logplex.model.values import (
    Change,
    Credential,
    Delete,
    Put,
    is_for_one_channel,
    is_new_credential_id,
    permissions_of,
)
from logplex.routing.registry import Registry
from logplex.settings import Auth, Urls
from logplex.waiting import in_time, unbroken

#: A credential that is made without id gets one of this many random bytes.
_RANDOM_ID_BYTES = 8

_Argument = TypeVar("_Argument")
_Result = TypeVar("_Result")


@define(eq=False, slots=False, repr=False)
class CredentialRoutes:
    """
    The routes of API v3 for the credentials in the store.

    :param auth: the settings with the option ``plain_passwords``, for Erlang nodes, which cannot
        read hashes.
    :param urls: the public URLs of the APIs, which some answers contain.
    """

    _store: IConfigStore
    _registry: Registry
    _authenticator: Authenticator
    _auth: Auth
    _urls: Urls
    _clock: IReactorTime
    _lock: DeferredLock = field(factory=DeferredLock, init=False)

    app = V3App()

    @app.on("GET", "/v3/credentials")
    def list_credentials(self, request: Request) -> Response:
        known = {each.id: each for each in self._registry.credentials()}
        known.update(self._authenticator.file_credentials())
        return json_answer(200, {"credentials": [self._shown(known[id]) for id in sorted(known)]})

    @app.on("POST", "/v3/credentials")
    async def create_credential(self, request: Request) -> Response:
        body = read_members(request, "id", "name", "permissions")
        id = optional_member(body, "id", str)
        name = optional_member(body, "name", str) or ""
        made = _made(
            token_hex(_RANDOM_ID_BYTES) if id is None else _checked(id),
            name,
            optional_strings(body, "permissions") or [],
            self._auth.plain_passwords,
        )
        channel_id = made.credential.channel
        if is_for_one_channel(made.credential) and not self._registry.channel(channel_id or ""):
            return error_answer(422, "channel not found")
        admission_of(request).details.update(
            credential_id=made.credential.id,
            permissions=",".join(permissions_of(made.credential)),
        )
        await self._alone(self._create, made.credential)
        path = f"/v3/credentials/{quote(made.credential.id, safe='')}"
        shown = {**self._shown(made.credential), "password": made.password}
        return json_answer(201, shown, {"Location": self._urls.api_v3 + path})

    async def _create(self, credential: Credential) -> None:
        if self._find(credential.id) is not None:
            raise CredentialExists
        await unbroken(self._store.commit([Put(credential)]))

    @app.on("GET", "/v3/credentials/<credential_id>")
    def show_credential(self, request: Request, credential_id: str) -> Response:
        credential = self._find(credential_id)
        if credential is None:
            raise UnknownCredential
        return json_answer(200, self._shown(credential))

    @app.on("POST", "/v3/credentials/<credential_id>/password")
    async def rotate_credential(self, request: Request, credential_id: str) -> Response:
        read_members(request)
        made = await self._alone(self._rotate, credential_id)
        return json_answer(200, {**self._shown(made.credential), "password": made.password})

    async def _rotate(self, credential_id: str) -> Made:
        made = with_new_password(self._changeable(credential_id), self._auth.plain_passwords)
        await unbroken(self._store.commit([Put(made.credential)]))
        return made

    @app.on("DELETE", "/v3/credentials/<credential_id>")
    async def delete_credential(self, request: Request, credential_id: str) -> Response:
        await self._alone(self._delete, credential_id)
        return Response(204)

    async def _delete(self, credential_id: str) -> None:
        change: Change = Delete(Credential, self._changeable(credential_id).id)
        await unbroken(self._store.commit([change]))

    # Internals.

    def _alone(
        self, verb: Callable[[_Argument], Coroutine[Deferred[Any], Any, _Result]], about: _Argument
    ) -> Deferred[_Result]:
        """
        Hold the lock for changes of credentials. Wait for the lock no longer than the time limit of
        a request.
        """

        def begin() -> Deferred[_Result]:
            return Deferred.fromCoroutine(verb(about))

        return in_time(self._lock.run(begin), self._clock)

    def _find(self, credential_id: str) -> Credential | None:
        in_file = self._authenticator.file_credentials().get(credential_id)
        return in_file or self._registry.credential(credential_id)

    def _changeable(self, credential_id: str) -> Credential:
        if credential_id in self._authenticator.file_credentials():
            raise KeptInFile
        credential = self._registry.credential(credential_id)
        if credential is None:
            raise UnknownCredential
        return credential

    def _shown(self, credential: Credential) -> dict[str, Any]:
        in_file = credential.id in self._authenticator.file_credentials()
        return {
            "id": credential.id,
            "name": credential.name,
            "permissions": permissions_of(credential),
            "kept_in": "file" if in_file else "store",
        }


def _checked(id: str) -> str:
    if not is_new_credential_id(id):
        raise BadCredentialId
    return id


def _made(id: str, name: str, permissions: list[str], keep_plain: bool) -> Made:
    if not is_credential_name(name):
        raise BadBody(f"'name' has at most {MAX_CREDENTIAL_NAME_CHARACTERS} printable characters")
    try:
        return make_credential(id, name, permissions, keep_plain)
    except ValueError as error:
        raise BadBody(str(error)) from None
