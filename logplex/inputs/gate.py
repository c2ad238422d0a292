"""
Who may post messages, decided on a request's head: readiness, method, sender, type (PROTOCOL §4).
"""

from __future__ import annotations

from attrs import evolve, frozen

from logplex.access.authenticator import Authenticator, Basic, NotKnown, parse_basic
from logplex.model.rods import Rods
from logplex.model.values import ANY_CHANNEL, TOKEN_USER
from logplex.routing.registry import Registry
from logplex.web import Refusal, Request, plain_refusal

LOGS = b"/logs"
HEALTH_CHECK = b"/healthcheck"

#: Content encodings that mean gzip (RFC 9110 §8.4.1.3); every other one but none is refused.
GZIP = frozenset({b"gzip", b"x-gzip"})
_NO_ENCODING = frozenset({b"", b"identity"})
_CONTENT_TYPES = frozenset({b"application/logplex-1", b"application/x-logplex-1"})

_METHODS = {LOGS: (b"POST",), HEALTH_CHECK: (b"GET", b"HEAD")}

_BOOTING = plain_refusal(503, "SYSTEM BOOTING")
_DENIED = plain_refusal(503, "Ingress is denied")
_UNKNOWN_PATH = plain_refusal(404, "Not found")
_NOT_AUTHORIZED = plain_refusal(
    401, "Not Authorized", (b"WWW-Authenticate", b"Basic realm=Logplex")
)
_NOT_PERMITTED = plain_refusal(403, "Credential not permitted to write to any channel.")
_WRONG_TYPE = plain_refusal(415, "The content type must be application/logplex-1")
_WRONG_ENCODING = plain_refusal(415, "The content encoding must be gzip, or none")


@frozen
class Sender:
    """
    Who sends a request; a component of it.

    :ivar name: tells senders apart; holds no NUL.
    :ivar token: all messages go to this token's channel; ``None``: each goes where its own token
        says.
    :ivar channel_id: the only channel into which it may write, where it has no token; ``None``:
        any.
    """

    name: bytes
    token: bytes | None = None
    channel_id: str | None = None


@frozen
class Gate:
    """Stands before the routes of the listener for logs."""

    registry: Registry
    rods: Rods
    authenticator: Authenticator

    def admit(self, request: Request) -> Refusal | None:
        """Let a request pass, and remember its :class:`Sender`; or say why not."""
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return _UNKNOWN_PATH
        if request.path == LOGS and not self.registry.ready:
            return _BOOTING
        if request.path == LOGS and self.rods.deny_logs_ingress:
            return _DENIED
        if request.method not in allowed:
            return plain_refusal(405, "Method not allowed", (b"Allow", b", ".join(allowed)))
        if request.path == HEALTH_CHECK:
            return None
        return self._admit_logs(request)

    def _admit_logs(self, request: Request) -> Refusal | None:
        basic = parse_basic(request.getHeader(b"Authorization"))
        try:
            sender = self._sender(basic, request.address) if basic else None
        except NotKnown as nobody:
            return evolve(_NOT_AUTHORIZED, delay_s=nobody.delay_s)
        if not isinstance(sender, Sender):
            return sender or _NOT_AUTHORIZED
        if _content_type(request) not in _CONTENT_TYPES:
            return _WRONG_TYPE
        if content_encoding(request) not in GZIP | _NO_ENCODING:
            return _WRONG_ENCODING
        request.setComponent(Sender, sender)
        return None

    def _sender(self, basic: Basic, address: str) -> Sender | Refusal | None:
        """
        Who this is, or a refusal of somebody known; ``None`` for a token that nobody knows.

        :raise NotKnown: nobody known. (Guessing tokens needs no slowing down: they are random.)
        """
        if basic.user == TOKEN_USER:
            token = basic.password.encode() if self.registry.token(basic.password) else None
            return Sender(b"token:%b" % token, token) if token else None
        credential = self.authenticator.credential(basic, address)
        if credential.channel is None:
            return _NOT_PERMITTED
        channel_id = None if credential.channel == ANY_CHANNEL else credential.channel
        return Sender(b"credential:%b" % credential.id.encode(), None, channel_id)


def content_encoding(request: Request) -> bytes:
    """In lower case; empty where there is none."""
    return b",".join(request.requestHeaders.getRawHeaders(b"Content-Encoding", [])).strip().lower()


def _content_type(request: Request) -> bytes:
    """In lower case, without parameters."""
    return (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
