"""
Who is asking, and what may they do: HTTP basic auth (RFC 7617), credentials, permissions.

Secrets are compared in constant time, and an id that nobody has costs the same comparison.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import re
import secrets
from collections.abc import Iterable, Mapping

from attrs import evolve, field, frozen

from logplex.access.throttle import Throttle
from logplex.model.values import ANY_CHANNEL, Credential
from logplex.routing.registry import Registry
from logplex.settings import FileCredential

#: Permission in the configuration file: every route of the APIs.
FULL_API = "full_api"
#: Permission in the configuration file: write into every channel.
ANY_CHANNEL_PERMISSION = "any_channel"
#: What begins a permission for one channel in the configuration file; its id follows.
ONE_CHANNEL_PREFIX = "channel:"

#: The user id of who shows a channel's token in place of a credential (PROTOCOL §4).
TOKEN_USER = "token"

#: Who shows the node's ``auth_key`` is this credential. It may use the APIs, not write messages.
AUTH_KEY_HOLDER = Credential(id="auth_key", secret="", full_api=True)

#: Who asks where nobody has to say who it is.
NOBODY = Credential(id="", secret="")

_HASHED = re.compile(r"sha256\$([0-9a-f]{32})\$([0-9a-f]{64})")
_NO_SECRET = f"sha256${'0' * 32}${'0' * 64}"


@frozen
class Basic:
    """What an ``Authorization: Basic`` header says: user id and password, unchecked."""

    user: str
    password: str


def parse_basic(authorization: bytes | None) -> Basic | None:
    """
    Read an ``Authorization`` header (RFC 7617 §2, UTF-8).

    :param authorization: the header's value; ``None`` where there is none.
    :return: ``None`` for another scheme, bad base64, bad UTF-8, or a missing colon.
    """
    encoded = _after_basic(authorization)
    if encoded is None:
        return None
    try:
        user, colon, password = base64.b64decode(encoded, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Basic(user, password) if colon else None


def _after_basic(authorization: bytes | None) -> bytes | None:
    scheme, _, rest = (authorization or b"").partition(b" ")
    return rest.strip() if scheme.lower() == b"basic" else None


def make_secret() -> str:
    """A new password: 256 random bits, in letters, digits, ``-`` and ``_``."""
    return secrets.token_urlsafe(32)


def hash_secret(password: str, salt: bytes | None = None) -> str:
    """
    The form in which a password is kept: ``sha256$<salt>$<digest>``, both in hex.

    One round is enough, because only secrets of :func:`make_secret` are kept so: nobody can try
    out 2**256 of them, and a slow hash would only make every request slow.

    :param salt: 16 bytes; new random ones where it is ``None``.
    """
    salt = secrets.token_bytes(16) if salt is None else salt
    return f"sha256${salt.hex()}${hashlib.sha256(salt + password.encode()).hexdigest()}"


def secret_matches(kept: str, password: str) -> bool:
    """Whether this is the password that is kept, plain or hashed; in constant time."""
    hashed = _HASHED.fullmatch(kept)
    if hashed:
        password = hash_secret(password, bytes.fromhex(hashed[1]))
    return hmac.compare_digest(kept.encode(), password.encode())


@frozen
class Made:
    """A credential with a new password, which nobody can find out later."""

    credential: Credential
    password: str = field(repr=False)


def make_credential(
    id: str, name: str, permissions: Iterable[str], keep_plain: bool = False
) -> Made:
    """
    A credential with a password of :func:`make_secret`.

    :param permissions: see :func:`parse_permissions`.
    :param keep_plain: keep the password as it is, for other nodes that know no hashes.
    :raise ValueError: for wrong permissions.
    """
    full_api, channel = parse_permissions(permissions)
    return with_new_password(Credential(id, "", name, full_api, channel), keep_plain)


def with_new_password(credential: Credential, keep_plain: bool = False) -> Made:
    """The credential with another password. See :func:`make_credential`."""
    password = make_secret()
    kept = password if keep_plain else hash_secret(password)
    return Made(evolve(credential, secret=kept), password)


def credential_from_file(kept: FileCredential) -> Credential:
    """
    A credential of the configuration file as a value of the model.

    :raise ValueError: for wrong permissions, an id that basic auth cannot carry, no password.
    """
    full_api, channel = parse_permissions(kept.permissions)
    if not kept.id or ":" in kept.id or not kept.password:
        raise ValueError("a credential needs a password and an id without colon")
    return Credential(kept.id, kept.password, kept.id, full_api, channel)


def parse_permissions(permissions: Iterable[str]) -> tuple[bool, str | None]:
    """
    :attr:`Credential.full_api` and :attr:`Credential.channel` for these permissions.

    :param permissions: ``full_api``, ``any_channel``, ``channel:<id>``.
    :raise ValueError: for permissions that do not exist or do not go together.
    """
    full_api, channels = False, set()
    for permission in permissions:
        if permission == FULL_API:
            full_api = True
        elif permission == ANY_CHANNEL_PERMISSION:
            channels.add(ANY_CHANNEL)
        elif permission.startswith(ONE_CHANNEL_PREFIX):
            channels.add(one_channel(permission.removeprefix(ONE_CHANNEL_PREFIX)))
        else:
            raise ValueError(f"unknown permission {permission!r}")
    if len(channels) > 1:
        raise ValueError("a credential is for one channel or for any channel")
    return full_api, channels.pop() if channels else None


def permissions_of(credential: Credential) -> list[str]:
    """What :func:`parse_permissions` reads."""
    permissions = [FULL_API] if credential.full_api else []
    if credential.channel == ANY_CHANNEL:
        permissions.append(ANY_CHANNEL_PERMISSION)
    elif credential.channel is not None:
        permissions.append(ONE_CHANNEL_PREFIX + credential.channel)
    return permissions


def one_channel(channel_id: str) -> str:
    """
    The channel of a permission for one channel.

    :raise ValueError: for an empty id, and for the one that the store reads as "any channel".
    """
    if not channel_id or channel_id == ANY_CHANNEL:
        raise ValueError(f"there is no permission for a channel {channel_id!r}")
    return channel_id


def is_for_one_channel(credential: Credential) -> bool:
    """Whether the credential is for one channel, and for nothing that concerns others."""
    return credential.channel not in (None, ANY_CHANNEL)


def may_read(credential: Credential, channel_id: str) -> bool:
    """Whether the credential may read this channel's logs and open sessions on it."""
    return credential.full_api or (
        is_for_one_channel(credential) and credential.channel == channel_id
    )


class NotKnown(Exception):
    """
    Nobody known.

    :ivar delay_s: after how many seconds to say so.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class Authenticator:
    """
    Knows every credential: those of the store, those of the configuration file, the auth key.

    :param registry: holds the store's credentials.
    :param file_credentials: win over the store's of the same id.
    :param auth_key: opens the APIs to who sends it after ``Basic ``; empty: to nobody.
    :param throttle: slows down who keeps failing.
    """

    def __init__(
        self,
        registry: Registry,
        file_credentials: Iterable[Credential],
        auth_key: str,
        throttle: Throttle,
    ) -> None:
        self._throttle = throttle
        self._registry = registry
        self._file_credentials = {each.id: each for each in file_credentials}
        self._auth_key = auth_key.encode()

    def file_credentials(self) -> Mapping[str, Credential]:
        """The credentials of the configuration file, by id."""
        return self._file_credentials

    def credential(self, basic: Basic, address: str) -> Credential:
        """
        The credential with this id and password.

        :param address: where they come from.
        :raise NotKnown: there is none.
        """
        found = self._find(basic)
        delay_s = self._throttle.judge(basic.user, address, found is not None)
        if found is None:
            raise NotKnown(delay_s)
        return found

    def api_user(self, authorization: bytes | None, address: str) -> Credential:
        """
        Who calls an API: a credential, whatever it permits, or :data:`AUTH_KEY_HOLDER`.

        :param authorization: the header's value; ``None`` where there is none.
        :param address: where it comes from.
        :raise NotKnown: nobody known.
        """
        shown = _after_basic(authorization)
        if not shown:
            raise NotKnown(0.0)
        if self._auth_key and hmac.compare_digest(shown, self._auth_key):
            return AUTH_KEY_HOLDER
        basic = parse_basic(authorization)
        return self.credential(basic or Basic("", ""), address)

    def _find(self, basic: Basic) -> Credential | None:
        known = self._file_credentials.get(basic.user) or self._registry.credential(basic.user)
        matches = secret_matches(known.secret if known else _NO_SECRET, basic.password)
        return known if matches and known and known.secret else None
