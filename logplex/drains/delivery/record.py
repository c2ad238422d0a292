"""
How a drain has fared: for its owner to see, and for the bound of its buffer.
"""

from __future__ import annotations

from attrs import define


@define
class Record:
    """
    Times are seconds since the epoch.

    :ivar failing_since: the first failure after the last success.
    :ivar last_error: for people, without anything secret of the URL.
    """

    last_success: float | None = None
    failing_since: float | None = None
    last_error: str | None = None
    last_error_at: float | None = None

    def succeeded(self, now: float) -> None:
        """The receiver took something."""
        self.last_success = now
        self.failing_since = None

    def failed(self, now: float, error: str) -> None:
        """The receiver could not be reached, or did not take what was sent."""
        self.noted(now, error)
        if self.failing_since is None:
            self.failing_since = now

    def noted(self, now: float, error: str) -> None:
        """A message could not be sent, which says nothing about the receiver."""
        self.last_error = error
        self.last_error_at = now

    def failing_s(self, now: float) -> float:
        """For how long nothing has succeeded."""
        return 0.0 if self.failing_since is None else now - self.failing_since
