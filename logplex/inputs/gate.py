# SPDX-License-Identifier: Apache-2.0

"""
The admission of requests to the listener for logs. Only the request head decides: readiness of the
node, method, sender and content type (PROTOCOL §4).
"""

from __future__ import annotations

from attrs import evolve, frozen

from logplex.access.authenticator import Authenticator, Basic, NotKnown, parse_basic
from logplex.inputs.compression import ENCODINGS
from logplex.live import Live
from logplex.model.rods import Rods
from logplex.model.values import ANY_CHANNEL, TOKEN_USER
from logplex.routing.registry import Registry
from logplex.web import Refusal, Request, plain_refusal

LOGS = b"/logs"
HEALTH_CHECK = b"/healthcheck"

_CONTENT_TYPES = frozenset({b"application/logplex-1", b"application/x-logplex-1"})

_METHODS = {LOGS: (b"POST",), HEALTH_CHECK: (b"GET", b"HEAD")}

_BOOTING = plain_refusal(503, "SYSTEM BOOTING", (b"Retry-After", b"1"), reason="booting")
_DENIED = plain_refusal(503, "Ingress is denied", (b"Retry-After", b"30"), reason="denied")
_UNKNOWN_PATH = plain_refusal(404, "Not found", reason="path")
_NOT_AUTHORIZED = plain_refusal(
    401, "Not Authorized", (b"WWW-Authenticate", b"Basic realm=Logplex"), reason="not_authorized"
)
_NOT_PERMITTED = plain_refusal(
    403, "Credential not permitted to write to any channel.", reason="not_permitted"
)
_WRONG_TYPE = plain_refusal(
    415, "The content type must be application/logplex-1", reason="content_type"
)
_WRONG_ENCODING = plain_refusal(
    415,
    f"The content encoding must be {', '.join(ENCODINGS)}, or none",
    (b"Accept-Encoding", ", ".join(ENCODINGS).encode()),
    reason="content_encoding",
)
_NO_ZSTD = evolve(
    _WRONG_ENCODING,
    body=b"The content encoding zstd needs Logplex to be installed with its extra: logplex[zstd]",
)


@frozen
class Sender:
    """
    The sender of a request with messages. The gate stores this value in the request.

    :ivar name: the name of the sender, which no other sender has; it contains no NUL.
    :ivar token: the token to whose channel all messages go. ``None``: each message goes to the
        channel of its own token.
    :ivar channel_id: the only channel to which a sender without token may write. ``None``: any
        channel.
    """

    name: bytes
    token: bytes | None = None
    channel_id: str | None = None


#: The sender of a request that nothing is known of yet.
_UNKNOWN = Sender(b"")


@frozen
class LogsGate:
    """
    The gate that admits or refuses requests to the listener for logs, before their bodies are read.
    """

    registry: Registry
    rods: Live[Rods]
    authenticator: Authenticator

    def admit(self, request: Request) -> Refusal | None:
        """
        Find the sender of a request, and store the :class:`Sender` in the request. Return a
        refusal, or ``None`` if the request is admitted.
        """
        request.setComponent(Sender, _UNKNOWN)
        allowed = _METHODS.get(request.path)
        if allowed is None:
            return _UNKNOWN_PATH
        if request.path == LOGS and not self.registry.ready:
            return _BOOTING
        if request.path == LOGS and self.rods.now.deny_logs_ingress:
            return _DENIED
        if request.method not in allowed:
            allow = b"Allow", b", ".join(allowed)
            return plain_refusal(405, "Method not allowed", allow, reason="method")
        if request.path == HEALTH_CHECK:
            return None
        return self._admit_logs(request)

    def _admit_logs(self, request: Request) -> Refusal | None:
        try:
            sender = self._sender(request.getHeader(b"Authorization"), request.address)
        except NotKnown as unknown:
            return evolve(_NOT_AUTHORIZED, delay_s=unknown.delay_s)
        if not isinstance(sender, Sender):
            return sender or _NOT_AUTHORIZED
        request.setComponent(Sender, sender)
        if _content_type(request) not in _CONTENT_TYPES:
            return _WRONG_TYPE
        encoding = content_encoding(request)
        if encoding and encoding not in ENCODINGS:
            return _NO_ZSTD if encoding == "zstd" else _WRONG_ENCODING
        return None

    def _sender(self, authorization: bytes | None, address: str) -> Sender | Refusal | None:
        """
        Return the sender of a request, a refusal if the sender lacks the permission, or ``None`` if
        the token is unknown.

        Requests with unknown tokens are not slowed down. Tokens are random, so guessing them is
        hopeless.

        :raise NotKnown: the credential is unknown, or the password is wrong.
        """
        scheme, _, rest = (authorization or b"").partition(b" ")
        if scheme.lower() == b"bearer":
            return self._token_sender(rest.strip().decode("latin-1"))
        basic = parse_basic(authorization)
        if basic is None:
            return None
        if basic.user == TOKEN_USER:
            return self._token_sender(basic.password)
        return self._credential_sender(basic, address)

    def _token_sender(self, token_id: str) -> Sender | None:
        if self.registry.token(token_id) is None:
            return None
        token = token_id.encode()
        return Sender(b"token:%b" % token, token)

    def _credential_sender(self, basic: Basic, address: str) -> Sender | Refusal:
        credential = self.authenticator.credential(basic, address)
        if credential.channel is None:
            return _NOT_PERMITTED
        channel_id = None if credential.channel == ANY_CHANNEL else credential.channel
        return Sender(b"credential:%b" % credential.id.encode(), None, channel_id)


def content_encoding(request: Request) -> str:
    """
    Return the encoding of a request's body by its usual name; empty if the body is not encoded.
    """
    values = request.requestHeaders.getRawHeaders(b"Content-Encoding", [])
    name = b",".join(values).strip().lower().decode("latin-1")
    return {"x-gzip": "gzip", "identity": ""}.get(name, name)


def _content_type(request: Request) -> bytes:
    """Return the content type of a request in lower case, without parameters."""
    return (request.getHeader(b"Content-Type") or b"").partition(b";")[0].strip().lower()
