"""
A tail's lines: what stands in them, who wants to see them, and how they look on a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from attrs import define, field, frozen

# TIME SOURCE[PROCID]: MSG; some notices of Logplex itself have no PROCID (PROTOCOL §7).
_LINE = re.compile(r"(\S+) (\S+?)(?:\[(\S*)\])?: (.*)", re.DOTALL)

#: In the order in which they are given out, as the ``heroku`` command does.
COLOURS: tuple[tuple[str, bool], ...] = (
    ("yellow", False),
    ("green", False),
    ("cyan", False),
    ("magenta", False),
    ("blue", False),
    ("green", True),
    ("cyan", True),
    ("magenta", True),
    ("yellow", True),
    ("blue", True),
)

#: Control characters that are not harmless on a terminal: all but tab, LF, and the sequences that
#: set colours.
_HARMFUL = re.compile(r"(\x1b\[[0-9;:]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RESET = "\x1b[0m"


@frozen
class Line:
    """
    A message, or a notice of Logplex.

    :ivar ps: the process; ``None`` where none is named.
    """

    time: str
    source: str
    ps: str | None
    message: str

    @property
    def is_notice(self) -> bool:
        """Whether Logplex says it itself, when it has no number: it is about the tail."""
        return self.source.lower() == "logplex"


def parse_line(data: bytes) -> Line:
    """A line without its LF. What is not of its form is a message of nobody's."""
    text = data.decode("utf-8", "replace")
    found = _LINE.fullmatch(text)
    return Line(*found.groups()) if found else Line("", "", None, text)


@frozen
class Filter:
    """
    What a reader wants to see.

    :ivar sources: names of tokens; none means all.
    :ivar processes: ``web`` is also ``web.1``; none means all.
    :ivar excluded: names of sources or processes.
    """

    sources: Sequence[str] = ()
    processes: Sequence[str] = ()
    excluded: Sequence[str] = ()

    def shows(self, line: Line) -> bool:
        """Whether to show this."""
        if self.sources and line.source not in self.sources:
            return False
        if self.processes and not any(_is_of(line.ps, each) for each in self.processes):
            return False
        return not any(line.source == each or _is_of(line.ps, each) for each in self.excluded)

    @property
    def shows_all(self) -> bool:
        """Whether there is nothing that it hides."""
        return not (self.sources or self.processes or self.excluded)

    def for_session(self) -> dict[str, str]:
        """What a session can do of it: one source and one process."""
        asked = {}
        if len(self.sources) == 1:
            asked["source"] = self.sources[0]
        if len(self.processes) == 1:
            asked["ps"] = self.processes[0]
        return asked

    @property
    def is_for_session(self) -> bool:
        """Whether a session can do all of it."""
        return len(self.sources) < 2 and len(self.processes) < 2 and not self.excluded


def _is_of(ps: str | None, name: str) -> bool:
    return ps is not None and (ps == name or ps.startswith(name + "."))


@define(eq=False, repr=False)
class Painter:
    """Gives every kind of process a colour of its own, in the order in which they appear."""

    _given: dict[str, tuple[str, bool]] = field(factory=dict)

    def paint(self, line: Line) -> str:
        """The line for a terminal: its head in colour, and nothing in it that could do harm."""
        if not line.source:
            return harmless(line.message)
        ps = "" if line.ps is None else f"[{line.ps}]"
        head = harmless(f"{line.time} {line.source}{ps}:")
        colour, bold = self._colour((line.ps or line.source).partition(".")[0])
        return f"{click.style(head, fg=colour, bold=bold)} {harmless(line.message)}"

    def _colour(self, name: str) -> tuple[str, bool]:
        if name not in self._given:
            if len(self._given) >= 1_000:  # strangers choose the names
                return COLOURS[0]
            self._given[name] = COLOURS[len(self._given) % len(COLOURS)]
        return self._given[name]


def harmless(text: str) -> str:
    """
    Text that a stranger wrote, for a terminal: what could move the cursor, set the title or write
    into the clipboard is shown as ``�``; colours stay, and end with the text.
    """
    shown = _HARMFUL.sub(lambda found: found[1] or "�", text)
    return shown + _RESET if "\x1b" in shown else shown
