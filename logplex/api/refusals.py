"""
What the APIs refuse to do, and why: one class each, so that every API answers in its own words.
"""

from __future__ import annotations

from collections.abc import Sequence


class Refused(Exception):
    """
    This will not be done; the request is at fault, not the node.

    :ivar delay_s: after how many seconds to say so.
    """

    delay_s: float = 0.0


class BadChannelId(Refused):
    """This cannot be a channel's id."""


class BadName(Refused):
    """This cannot be a token's name."""


class UnknownChannel(Refused):
    """There is no such channel."""


class UnknownDrain(Refused):
    """There is no such drain, or it belongs to another channel."""


class DrainExists(Refused):
    """The channel has a drain with this URL."""


class TooManyDrains(Refused):
    """The channel has as many drains as a channel may have."""


class BadCredentialId(Refused):
    """This cannot be a new credential's id."""


class UnknownCredential(Refused):
    """There is no such credential."""


class CredentialExists(Refused):
    """There is a credential with this id."""


class KeptInFile(Refused):
    """The credential is in the configuration file, and cannot be changed by an API."""


class WrongType(Refused):
    """The body is not said to be JSON."""


class BadBody(Refused):
    """The body is not what this request needs; the text says why, for the client."""


class MissingName(BadBody):
    """The body does not name what it must."""


class NotAuthenticated(Refused):
    """Nobody known asks, or somebody who may not use this API."""

    def __init__(self, delay_s: float = 0.0) -> None:
        super().__init__(delay_s)
        self.delay_s = delay_s


class NotPermitted(Refused):
    """Who asks is known, but may do this only elsewhere."""


class Unavailable(Refused):
    """Not now; the text says why, for the client."""

    def __init__(self, why: str, delay_s: float = 0.0) -> None:
        super().__init__(why)
        self.delay_s = delay_s


class BadHead(Refused):
    """The request's headers cannot be read; the text says why, for the client."""


class BadPath(Refused):
    """The request's path cannot be read; the text says why, for the client."""


class UnknownRoute(Refused):
    """The API has nothing at this path."""


class WrongMethod(Refused):
    """
    The path exists, but not for this method.

    :ivar allowed: the methods that it exists for.
    """

    def __init__(self, allowed: Sequence[str]) -> None:
        super().__init__(allowed)
        self.allowed = allowed
