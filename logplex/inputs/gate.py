"""
Admission to the listener for logs, decided on the request head alone: readiness, method, sender,
content type (PROTOCOL §4).
"""

from __future__ import annotations

from attrs import evolve, frozen

from logplex.access.authenticator import Authenticator, Basic, NotKnown, parse_basic
from logplex.live import Live
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
    The sender of a request. The gate stores it as a component of the request.

    :ivar name: differs for every sender; contains no NUL.
    :ivar token: all messages go to the channel of this token. ``None``: each message goes to the
        channel of its own token.
    :ivar channel_id: the only channel that a sender without token may write to. ``None``: any.
    """

    name: bytes
    token: bytes | None = None
    channel_id: str | None = None


@frozen
class LogsGate:
    """Admit or refuse requests before the routes of the listener for logs see them."""

    registry: Registry
    rods: Live[Rods]
    authenticator: Authenticator

    def admit(self, request: Request) -> Refusal | None:
        """Store the :class:`Sender` of an admitted request; return the refusal of any other."""
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return _UNKNOWN_PATH
        if request.path == LOGS and not self.registry.ready:
            return _BOOTING
        if request.path == LOGS and self.rods.now.deny_logs_ingress:
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
        except NotKnown as unknown:
            return evolve(_NOT_AUTHORIZED, delay_s=unknown.delay_s)
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
        Return the sender, the refusal of a sender without permission, or ``None`` for an unknown
        token. Unknown tokens are not slowed down: they are random, so guessing them is hopeless.

        :raise NotKnown: the credential is unknown, or its password is wrong.
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
    """Return the content encoding in lower case; empty if the request has none."""
    return b",".join(request.requestHeaders.getRawHeaders(b"Content-Encoding", [])).strip().lower()


def _content_type(request: Request) -> bytes:
    """Return the content type in lower case, without parameters."""
    return (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
