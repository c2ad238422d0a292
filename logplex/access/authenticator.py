"""
Authentication of requests: HTTP basic auth (RFC 7617) and the ``auth_key``.

Secrets are compared in constant time, and an unknown id costs the same comparison.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections.abc import Callable, Iterable, Mapping

from attrs import frozen

from logplex.access.credentials import secret_matches
from logplex.access.throttle import Throttle
from logplex.model.values import AUTH_KEY_HOLDER, Credential

_NO_SECRET = f"sha256${'0' * 32}${'0' * 64}"


@frozen
class Basic:
    """The user id and password of an ``Authorization: Basic`` header, not checked yet."""

    user: str
    password: str


def parse_basic(authorization: bytes | None) -> Basic | None:
    """
    Read an ``Authorization`` header (RFC 7617 §2, UTF-8).

    :param authorization: the header's value; ``None`` if there is none.
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


class NotKnown(Exception):
    """
    The caller could not be authenticated.

    :ivar delay_s: seconds to wait before the caller is told.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class Authenticator:
    """
    Finds the credential of a request: in the store, in the settings file, or the auth key.

    :param find: looks up a credential of the store by its id.
    :param file_credentials: take precedence over the store's of the same id.
    :param auth_key: opens the APIs to a caller that sends it after ``Basic ``; empty: disabled.
    :param throttle: slows down repeated failures.
    """

    def __init__(
        self,
        find: Callable[[str], Credential | None],
        file_credentials: Iterable[Credential],
        auth_key: str,
        throttle: Throttle,
    ) -> None:
        self._throttle = throttle
        self._find_stored = find
        self._file_credentials = {each.id: each for each in file_credentials}
        self._auth_key = auth_key.encode()

    def file_credentials(self) -> Mapping[str, Credential]:
        """The credentials of the settings file, by id."""
        return self._file_credentials

    def credential(self, basic: Basic, address: str) -> Credential:
        """
        Return the credential with this id and password.

        :param address: of the client.
        :raise NotKnown: there is none.
        """
        found = self._find(basic)
        delay_s = self._throttle.judge(basic.user, address, found is not None)
        if found is None:
            raise NotKnown(delay_s)
        return found

    def api_user(self, authorization: bytes | None, address: str) -> Credential:
        """
        Return the caller of an API: a credential, whatever it permits, or
        :data:`~logplex.model.AUTH_KEY_HOLDER`.

        :param authorization: the header's value; ``None`` if there is none.
        :param address: of the client.
        :raise NotKnown: the caller could not be authenticated.
        """
        shown = _after_basic(authorization)
        if not shown:
            raise NotKnown(0.0)
        if self._auth_key and hmac.compare_digest(shown, self._auth_key):
            return AUTH_KEY_HOLDER
        basic = parse_basic(authorization)
        return self.credential(basic or Basic("", ""), address)

    def _find(self, basic: Basic) -> Credential | None:
        known = self._file_credentials.get(basic.user) or self._find_stored(basic.user)
        matches = secret_matches(known.secret if known else _NO_SECRET, basic.password)
        return known if matches and known and known.secret else None
