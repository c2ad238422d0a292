"""
What the APIs refuse to do, and why: one class each, so that every API answers in its own words.
"""

from __future__ import annotations


class Refused(Exception):
    """This will not be done; the request is at fault, not the node."""


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
