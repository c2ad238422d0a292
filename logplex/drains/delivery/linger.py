"""
How long busy drains wait for company: the more of them there are, the longer.
"""

from __future__ import annotations

from attrs import define, field

#: So many batches a second may all busy drains of a node send together before each waits longer.
#: A request costs 80 µs or more, however little it carries: these take a twentieth of a core.
BATCHES_PER_S = 500


@define(eq=False, repr=False)
class Linger:
    """
    What all drains of a node share: they count themselves, and each waits according to their
    number. A drain is busy that has sent something in the last two or four times ``most_s``.

    :ivar least_s: from one batch of a busy drain to its next, where few are busy.
    :ivar most_s: the same, however many are busy.
    """

    least_s: float
    most_s: float
    _began_at: float = field(default=0.0, init=False)
    _busy: int = field(default=0, init=False)
    _busy_before: int = field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        self.most_s = max(self.least_s, self.most_s)

    @property
    def seconds(self) -> float:
        """From one batch of a drain to its next."""
        busy = max(self._busy, self._busy_before)
        return min(self.most_s, max(self.least_s, busy / BATCHES_PER_S))

    def sends(self, now: float, last_sent_at: float) -> None:
        """A drain sends something, and has sent something before at that time."""
        window_s = 2 * self.most_s
        age_s = now - self._began_at
        if not 0 <= age_s < window_s:  # A clock may be set back.
            self._busy_before = self._busy if 0 <= age_s < 2 * window_s else 0
            self._busy = 0
            self._began_at = now
        if last_sent_at < self._began_at:
            self._busy += 1
