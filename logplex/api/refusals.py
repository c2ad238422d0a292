# SPDX-License-Identifier: Apache-2.0

"""
Refusals of the APIs, one class for each reason: every API answers to them in its own words.
"""

from __future__ import annotations

from collections.abc import Sequence


class RequestRefused(Exception):
    """
    The node refuses a request because of a fault in the request.

    :ivar delay_s: the seconds to wait before the answer.
    """

    delay_s: float = 0.0


class BadChannelId(RequestRefused):
    """No channel can have this id."""


class BadName(RequestRefused):
    """No token can have this name."""


class UnknownChannel(RequestRefused):
    """There is no such channel."""


class UnknownDrain(RequestRefused):
    """There is no such drain, or it belongs to another channel."""


class DrainExists(RequestRefused):
    """The channel has a drain with this URL."""


class UnknownToken(RequestRefused):
    """There is no such token, or it belongs to another channel."""


class TooManyTokens(RequestRefused):
    """The channel has as many tokens as it may have."""


class UnknownSession(RequestRefused):
    """The session does not exist, or the caller may not read its channel."""


class TooManySessions(RequestRefused):
    """
    The channel has as many sessions as it may have.

    :ivar retry_after_s: the seconds until the oldest session expires.
    """

    def __init__(self, retry_after_s: int) -> None:
        super().__init__(retry_after_s)
        self.retry_after_s = retry_after_s


class NoJournal(RequestRefused):
    """The node has no journal, so that no drain can be durable."""


class TooManyDrains(RequestRefused):
    """The channel has as many drains as it may have."""


class BadCredentialId(RequestRefused):
    """No new credential can have this id."""


class UnknownCredential(RequestRefused):
    """There is no such credential."""


class CredentialExists(RequestRefused):
    """There is a credential with this id."""


class KeptInFile(RequestRefused):
    """The credential is in the settings file, and cannot be changed by an API."""


class WrongType(RequestRefused):
    """The content type is not JSON."""


class BadBody(RequestRefused):
    """The body is not valid for this request; the text gives the client the reason."""


class TooManyNames(BadBody):
    """The body has more names of tokens than a channel may have tokens."""


class MissingName(BadBody):
    """The body lacks the name that it must have."""


class NotAuthenticated(RequestRefused):
    """The caller is not known, or may not use this API."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class NotPermitted(RequestRefused):
    """The caller has a permission for another channel only."""


class OtherOrigin(RequestRefused):
    """A page of another site made a browser send this change."""


class Unavailable(RequestRefused):
    """The node cannot do this now; the text gives the client the reason."""

    def __init__(self, why: str, delay_s: float = 0.0) -> None:
        super().__init__(why)
        self.delay_s = delay_s


class BadHead(RequestRefused):
    """The request's headers cannot be read; the text gives the client the reason."""


class BadPath(RequestRefused):
    """The request's path cannot be read; the text gives the client the reason."""


class UnknownRoute(RequestRefused):
    """The API has nothing at this path."""


class WrongMethod(RequestRefused):
    """
    The path exists, but not for this method.

    :ivar allowed: the methods of this path.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(allowed)
        self.allowed = allowed
