# SPDX-License-Identifier: Apache-2.0

"""
Authentication of requests: HTTP basic auth (RFC 7617), the ``auth_key``, and a throttle.

Secrets are compared in constant time. The comparison takes the same time for an unknown id.
"""

from __future__ import annotations

import base64
import binascii
import hmac
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from ipaddress import IPv6Address, IPv6Network

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from logplex.access.credentials import secret_matches
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.values import AUTH_KEY_HOLDER, Credential
from logplex.settings import Limits

#: A pair of id and address, or an address, is forgotten this long after its last failure.
FORGET_AFTER_S = 60.0
#: The longest delay of an answer, whatever the number of answers that wait.
MAX_DELAY_S = 30.0
#: At most this many pairs, and as many addresses, are remembered; the one that failed longest ago
#: is forgotten first.
MAX_KEPT = 10_000
#: The log has a line about failures at most once in this time.
LOG_INTERVAL_S = 60.0
#: The log shows this much of an id.
MAX_SHOWN_ID_CHARACTERS = 16
#: Only the beginning of a longer id is remembered.
MAX_REMEMBERED_ID_CHARACTERS = 128

_log = Logger()

_NO_SECRET = f"sha256${'0' * 32}${'0' * 64}"


@frozen
class Basic:
    """
    The user id and the password of an ``Authorization: Basic`` header, before they are checked.
    """

    user: str
    password: str


def parse_basic(authorization: bytes | None) -> Basic | None:
    """
    Parse an ``Authorization`` header (RFC 7617 §2, UTF-8).

    :param authorization: the header's value; ``None`` if there is none.
    :return: the user id and the password; ``None`` for another scheme, bad base64, bad UTF-8, or a
        missing colon.
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
    The id or the password of the caller is wrong.

    :ivar delay_s: the seconds to wait before the node answers.
    """

    def __init__(self, delay_s: float) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


@define
class _Failures:
    """
    The failed authentications from one client address, with one id or with any id.

    :ivar due_s: the time of the last answer, which may be in the future, because answers to wrong
        passwords are delayed.
    """

    count: int
    last_s: float
    due_s: float


@define(eq=False, repr=False)
class _Budget:
    """
    The failed authentications for each key. A key has a number of free failures; answers to further
    failures are delayed.

    The delayed answers for one key are sent one after another, so an attacker gains nothing from
    more connections.
    """

    _kept: OrderedDict[object, _Failures] = field(factory=OrderedDict, init=False)

    def forget(self, key: object) -> None:
        """Forget the failed authentications of a key."""
        self._kept.pop(key, None)

    def fail(self, key: object, now: float, free: int, delay_s: float) -> float:
        """Count a failed authentication. Return the seconds to wait before the node answers."""
        failures = self._kept.pop(key, None)
        if failures is None or now - failures.last_s > FORGET_AFTER_S:
            failures = _Failures(0, now, now)
        failures.count += 1
        failures.last_s = now
        self._kept[key] = failures
        if len(self._kept) > MAX_KEPT:
            self._kept.popitem(last=False)
        if failures.count <= free:
            return 0.0
        failures.due_s = min(max(now, failures.due_s) + delay_s, now + MAX_DELAY_S)
        return failures.due_s - now


@define(eq=False, repr=False)
class Throttle:
    """
    Delay the answers to repeated failed authentications from one client address, with one
    credential id or with any ids.

    A caller with the right password never waits. Failures are counted. At most once a minute, a
    line in the log names the last failure.
    """

    _clock: IReactorTime
    _limits: Live[Limits]
    _counters: Counters
    _pairs: _Budget = field(factory=_Budget, init=False)
    _addresses: _Budget = field(factory=_Budget, init=False)
    _log_after_s: float | None = field(default=None, init=False)
    _untold: int = field(default=0, init=False)

    def judge(self, credential_id: str, address: str, is_known: bool) -> float:
        """
        Count an attempt to authenticate, and return the delay of the answer.

        :param credential_id: the id in the request; empty if the request has no id.
        :param address: the address of the client.
        :param is_known: true if the authentication succeeded.
        :return: the seconds to wait before the node answers.
        """
        pair = (credential_id[:MAX_REMEMBERED_ID_CHARACTERS], address)
        if is_known:
            self._pairs.forget(pair)
            return 0.0
        now = self._clock.seconds()
        limits = self._limits.now
        self._counters.auth_failures += 1
        self._tell(credential_id, address, now)
        delay_s = limits.auth_failure_delay_s
        return max(
            self._pairs.fail(pair, now, limits.auth_failures, delay_s),
            self._addresses.fail(network_of(address), now, limits.auth_address_failures, delay_s),
        )

    def _tell(self, credential_id: str, address: str, now: float) -> None:
        self._untold += 1
        if self._log_after_s is not None and now < self._log_after_s:
            return
        self._log_after_s = now + LOG_INTERVAL_S
        times, self._untold = self._untold, 0
        # A client may send its password in the place of the id.
        shown = ascii(credential_id[:MAX_SHOWN_ID_CHARACTERS])
        _log.warn(
            "authentication failed {times} times since the last such line; the last was for the id"
            " {shown} from {address}",
            times=times,
            shown=shown if len(credential_id) <= MAX_SHOWN_ID_CHARACTERS else f"{shown}…",
            address=address,
        )


def network_of(address: str) -> str:
    """
    Return an IPv4 address unchanged, or the /64 network of an IPv6 address, because one client has
    a whole /64 network.

    A listener for both protocols reports an IPv4 address in the form of an IPv6 address
    (``::ffff:192.0.2.1``).
    """
    if ":" not in address:
        return address
    try:
        ipv6 = IPv6Address(address.partition("%")[0])
    except ValueError:
        return address
    return str(ipv6.ipv4_mapped or IPv6Network((ipv6, 64), strict=False))


class Authenticator:
    """
    Find the credential of a request: in the store, in the settings file, or as the auth key.

    :param find: the function that finds a credential of the store by id.
    :param file_credentials: the credentials of the settings file; they override credentials of the
        store with the same id.
    :param auth_key: a key that gives access to the APIs if a caller sends it after ``Basic ``;
        empty to disable the key.
    :param throttle: delays the answers to repeated failures.
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
        """The credentials in the settings file, by id."""
        return self._file_credentials

    def credential(self, basic: Basic, address: str) -> Credential:
        """
        Return the credential that has the given id and password.

        :param address: the address of the client.
        :raise NotKnown: no credential has this id and password.
        """
        found = self._find(basic)
        delay_s = self._throttle.judge(basic.user, address, found is not None)
        if found is None:
            raise NotKnown(delay_s)
        return found

    def api_user(self, authorization: bytes | None, address: str) -> Credential:
        """
        Return the credential of the caller of an API; :data:`~logplex.model.AUTH_KEY_HOLDER` for
        the auth key.

        :param authorization: the value of the ``Authorization`` header; ``None`` if there is none.
        :param address: the address of the client.
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
