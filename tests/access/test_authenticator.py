# SPDX-License-Identifier: Apache-2.0

"""Basic auth, secrets and permissions."""

from __future__ import annotations

from base64 import b64encode

from attrs import evolve
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from logplex.access.authenticator import Authenticator, Basic, NotKnown, Throttle, parse_basic
from logplex.access.credentials import (
    credential_from_file,
    hash_secret,
    make_secret,
    secret_matches,
)
from logplex.live import Live
from logplex.metrics import Counters
from logplex.model.values import ANY_CHANNEL, AUTH_KEY_HOLDER, Credential, Put, may_read
from logplex.routing.registry import Registry
from logplex.settings import FileCredential, Limits


def basic(user: str, password: str) -> bytes:
    return b"Basic " + b64encode(f"{user}:{password}".encode())


class ParseBasicTests(SynchronousTestCase):
    """``parse_basic``"""

    @settings(deadline=None)
    @given(st.text(alphabet=st.characters(exclude_characters=":", codec="utf-8")), st.text())
    def test_what_was_written(self, user: str, password: str) -> None:
        """User id and password come back as they were sent, further colons in the password."""
        try:
            header = basic(user, password)
        except UnicodeEncodeError:
            return
        self.assertEqual(Basic(user, password), parse_basic(header))

    def test_scheme_in_any_case(self) -> None:
        """The scheme's name is case-insensitive (RFC 9110 §11.1)."""
        self.assertEqual(Basic("a", "b"), parse_basic(b"bAsIc " + b64encode(b"a:b")))

    def test_not_basic_auth(self) -> None:
        """A header that cannot be read has no user and no password."""
        for header in (
            None,
            b"",
            b"Basic",
            b"Basic ",
            b"Basic a",
            b"Basic !!!!",
            b"Basic \xff\xfe",
            b"Basic " + b64encode(b"no colon"),
            b"Basic " + b64encode(b"a\xff:b"),
            b"Bearer " + b64encode(b"a:b"),
        ):
            self.assertIsNone(parse_basic(header), header)


class SecretTests(SynchronousTestCase):
    """``make_secret``, ``hash_secret`` and ``secret_matches``"""

    def test_plain(self) -> None:
        """A secret that other nodes keep plain matches itself only."""
        self.assertTrue(secret_matches("påss", "påss"))
        self.assertFalse(secret_matches("påss", "pass"))

    def test_hashed(self) -> None:
        """A hashed secret matches its password, not its own text."""
        password = make_secret()
        kept = hash_secret(password)
        self.assertTrue(secret_matches(kept, password))
        self.assertFalse(secret_matches(kept, kept))
        self.assertFalse(secret_matches(kept, password + "x"))

    def test_salted(self) -> None:
        """The same password is kept differently every time, and never readable."""
        first, second = hash_secret("secret"), hash_secret("secret")
        self.assertNotEqual(first, second)
        self.assertNotIn("secret", first)


class PermissionTests(SynchronousTestCase):
    """The permissions of credentials."""

    def test_from_file(self) -> None:
        """The permissions of the settings file become the model's."""
        for permissions, full_api, channel in (
            ((), False, None),
            (("full_api",), True, None),
            (("any_channel",), False, ANY_CHANNEL),
            (("full_api", "any_channel"), True, ANY_CHANNEL),
            (("channel:app-1",), False, "app-1"),
        ):
            credential = credential_from_file(FileCredential("id", "pass", permissions))
            self.assertEqual((full_api, channel), (credential.full_api, credential.channel))

    def test_not_permissions(self) -> None:
        """Mistakes in the file are refused, above all what would permit too much."""
        for permissions in (
            ("all",),
            ("channel:",),
            ("channel:any",),
            ("channel:a", "channel:b"),
            ("channel:a", "any_channel"),
        ):
            with self.assertRaises(ValueError):
                credential_from_file(FileCredential("id", "pass", permissions))

    def test_not_a_credential(self) -> None:
        """An id that basic auth cannot carry, or an empty password, is refused."""
        for id, password in (("", "pass"), ("a:b", "pass"), ("id", "")):
            with self.assertRaises(ValueError):
                credential_from_file(FileCredential(id, password))

    def test_read(self) -> None:
        """``full_api`` reads all; a permission for one channel reads that one; others nothing."""
        self.assertTrue(may_read(Credential("id", "pass", full_api=True), "one"))
        self.assertTrue(may_read(Credential("id", "pass", channel="one"), "one"))
        self.assertFalse(may_read(Credential("id", "pass", channel="one"), "other"))
        self.assertFalse(may_read(Credential("id", "pass", channel=ANY_CHANNEL), "one"))
        self.assertFalse(may_read(Credential("id", "pass", channel=ANY_CHANNEL), ANY_CHANNEL))


class AuthenticatorTests(SynchronousTestCase):
    """The caller of a request."""

    def setUp(self) -> None:
        self.registry = Registry()
        self.stored = Credential("stored", hash_secret("secret"), full_api=True)
        self.in_file = Credential("file", "secret", channel=ANY_CHANNEL)
        self.registry.changed([Put(self.stored)])
        self.clock = Clock()
        self.limits = Live(Limits())
        self.authenticator = self.new_authenticator("auth:key")

    def new_authenticator(self, auth_key: str) -> Authenticator:
        throttle = Throttle(self.clock, self.limits, Counters())
        return Authenticator(self.registry.credential, [self.in_file], auth_key, throttle)

    def test_known(self) -> None:
        """Credentials of the store and of the file, with their passwords."""
        for credential in (self.stored, self.in_file):
            found = self.authenticator.credential(Basic(credential.id, "secret"), "a")
            self.assertEqual(credential, found)

    def test_unknown(self) -> None:
        """A wrong password, another's id, nothing at all."""
        for shown in (Basic("stored", "wrong"), Basic("nobody", "secret"), Basic("", "")):
            with self.assertRaises(NotKnown):
                self.authenticator.credential(shown, "a")

    def test_empty_secret(self) -> None:
        """A stored credential without password opens nothing."""
        self.registry.changed([Put(Credential("empty", ""))])
        with self.assertRaises(NotKnown):
            self.authenticator.credential(Basic("empty", ""), "a")

    def test_auth_key(self) -> None:
        """The raw key after ``Basic `` is enough for the APIs."""
        self.assertEqual(AUTH_KEY_HOLDER, self.authenticator.api_user(b"Basic auth:key", "a"))

    def test_not_the_auth_key(self) -> None:
        """A part of it, more than it, or it in base64 is not the key."""
        for header in (b"Basic auth:", b"Basic auth:keys", basic("auth", "key"), b"auth:key", None):
            with self.assertRaises(NotKnown):
                self.authenticator.api_user(header, "a")

    def test_empty_auth_key(self) -> None:
        """Without an auth key nothing matches it."""
        authenticator = self.new_authenticator("")
        for header in (b"Basic ", b"Basic", b"", None):
            with self.assertRaises(NotKnown):
                authenticator.api_user(header, "a")

    def test_api_user(self) -> None:
        """Credentials are users of the APIs too; what they may do is asked later."""
        header = basic("file", "secret")
        self.assertEqual(self.in_file, self.authenticator.api_user(header, "a"))

    def test_slowed_down(self) -> None:
        """Failures are answered later and later, a success at once; no header is not a guess."""
        self.limits.now = evolve(self.limits.now, auth_failures=1)
        header = basic("file", "wrong")
        delays = []
        for shown in (header, header, None, header):
            with self.assertRaises(NotKnown) as caught:
                self.authenticator.api_user(shown, "a")
            delays.append(caught.exception.delay_s)
        self.assertEqual([0, 1, 0, 2], delays)
        self.assertEqual(self.in_file, self.authenticator.api_user(basic("file", "secret"), "a"))
