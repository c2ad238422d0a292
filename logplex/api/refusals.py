# SPDX-License-Identifier: Apache-2.0

"""
The reasons for refusing a request, one exception class for each reason. Each API makes its own
answer from an exception.
"""

from __future__ import annotations

from collections.abc import Sequence


class RequestRefused(Exception):
    """
    The node refuses a request. Each subclass is one reason.

    :ivar delay_s: the seconds to wait before the answer.
    """

    delay_s: float = 0.0


class BadChannelId(RequestRefused):
    """The given id is not a valid channel id."""


class BadName(RequestRefused):
    """The given name is not a valid token name."""


class UnknownChannel(RequestRefused):
    """The channel does not exist."""


class UnknownDrain(RequestRefused):
    """The drain does not exist, or belongs to another channel."""


class DrainExists(RequestRefused):
    """The channel already has a drain with this URL."""


class UnknownToken(RequestRefused):
    """The token does not exist, or belongs to another channel."""


class TooManyTokens(RequestRefused):
    """The channel has the maximum number of tokens."""


class UnknownSession(RequestRefused):
    """The session does not exist, or the caller may not read its channel."""


class TooManySessions(RequestRefused):
    """
    The channel has the maximum number of sessions.

    :ivar retry_after_s: the seconds until the oldest session expires.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class NoJournal(RequestRefused):
    """The node has no journal, so no drain can be durable."""


class TooManyDrains(RequestRefused):
    """The channel has the maximum number of drains."""


class BadCredentialId(RequestRefused):
    """The given id is not a valid id for a new credential."""


class UnknownCredential(RequestRefused):
    """The credential does not exist."""


class CredentialExists(RequestRefused):
    """A credential with this id already exists."""


class KeptInFile(RequestRefused):
    """The credential is in the settings file, so an API cannot change the credential."""


class WrongType(RequestRefused):
    """The content type of the request is not JSON."""


class BadBody(RequestRefused):
    """The body is not valid for this request. The text of the error gives the client the reason."""


class TooManyNames(BadBody):
    """The body contains more token names than a channel may have tokens."""


class MissingName(BadBody):
    """The body does not contain the required name."""


class NotAuthenticated(RequestRefused):
    """The caller has no valid credential, or may not use this API."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class NotPermitted(RequestRefused):
    """The caller's credential is for another channel only."""


class OtherOrigin(RequestRefused):
    """A web page of another site made a browser send this change."""


class Unavailable(RequestRefused):
    """The node cannot do this now. The text of the error gives the client the reason."""

    def __init__(self, why: str, delay_s: float = 0.0) -> None:
        super().__init__(why)
        self.delay_s = delay_s


class BadHead(RequestRefused):
    """
    The headers of the request are malformed. The text of the error gives the client the reason.
    """


class BadPath(RequestRefused):
    """The path of the request is malformed. The text of the error gives the client the reason."""


class UnknownRoute(RequestRefused):
    """The API has no route with this path."""


class WrongMethod(RequestRefused):
    """
    The API has a route with this path, but not for this HTTP method.

    :ivar allowed: the HTTP methods that the path allows.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(allowed)
        self.allowed = allowed
