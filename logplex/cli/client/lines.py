"""
The lines of a tail: their fields, filters for them, and their colours on a terminal.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import click
from attrs import define, field, frozen

# TIME SOURCE[PROCID]: MSG; some notices of Logplex itself have no PROCID (PROTOCOL §7).
_LINE = re.compile(r"(\S+) (\S+?)(?:\[(\S*)\])?: (.*)", re.DOTALL)

#: The colours of process types, in order of use; the ``heroku`` command uses the same.
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

#: Control characters that can do harm on a terminal: all but tab, LF, and sequences that set
#: colours.
_HARMFUL = re.compile(r"(\x1b\[[0-9;:]*m)|[\x00-\x08\x0b-\x1f\x7f-\x9f]")
_RESET = "\x1b[0m"


@frozen
class Line:
    """
    A message, or a notice by Logplex itself.

    :ivar ps: the name of the process, or ``None``.
    """

    time: str
    source: str
    ps: str | None
    message: str

    @property
    def is_notice(self) -> bool:
        """True for a notice by Logplex. Without a number, it is about the tail itself."""
        return self.source.lower() == "logplex"


def parse_line(data: bytes) -> Line:
    """
    Return the fields of a line.

    Text in another form becomes the message of a line without time and source.

    :param data: the line, without the LF.
    """
    text = data.decode("utf-8", "replace")
    found = _LINE.fullmatch(text)
    return Line(*found.groups()) if found else Line("", "", None, text)


@frozen
class Filter:
    """
    A reader's choice of lines.

    :ivar sources: show only these sources (names of tokens); empty means all.
    :ivar processes: show only these processes; ``web`` includes ``web.1``; empty means all.
    :ivar excluded: hide these sources and processes.
    """

    sources: Sequence[str] = ()
    processes: Sequence[str] = ()
    excluded: Sequence[str] = ()

    def shows(self, line: Line) -> bool:
        """Return true if the filter shows this line."""
        if self.sources and line.source not in self.sources:
            return False
        if self.processes and not any(_is_of(line.ps, each) for each in self.processes):
            return False
        return not any(line.source == each or _is_of(line.ps, each) for each in self.excluded)

    @property
    def shows_all(self) -> bool:
        """True if the filter hides nothing."""
        return not (self.sources or self.processes or self.excluded)

    def for_session(self) -> dict[str, str]:
        """Return the part of the filter that a session can apply: one source and one process."""
        asked = {}
        if len(self.sources) == 1:
            asked["source"] = self.sources[0]
        if len(self.processes) == 1:
            asked["ps"] = self.processes[0]
        return asked

    @property
    def is_for_session(self) -> bool:
        """True if a session can apply the whole filter."""
        return len(self.sources) < 2 and len(self.processes) < 2 and not self.excluded


def _is_of(ps: str | None, name: str) -> bool:
    return ps is not None and (ps == name or ps.startswith(name + "."))


@define(eq=False, repr=False)
class Painter:
    """Give each type of process its own colour, in the order in which the types appear."""

    _given: dict[str, tuple[str, bool]] = field(factory=dict)

    def paint(self, line: Line) -> str:
        """Return the line for a terminal: its head in colour, harmful characters replaced."""
        if not line.source:
            return harmless(line.message)
        ps = "" if line.ps is None else f"[{line.ps}]"
        head = harmless(f"{line.time} {line.source}{ps}:")
        colour, bold = self._colour((line.ps or line.source).partition(".")[0])
        return f"{click.style(head, fg=colour, bold=bold)} {harmless(line.message)}"

    def _colour(self, name: str) -> tuple[str, bool]:
        if name not in self._given:
            if len(self._given) >= 1_000:  # senders can choose any number of names
                return COLOURS[0]
            self._given[name] = COLOURS[len(self._given) % len(COLOURS)]
        return self._given[name]


def harmless(text: str) -> str:
    """
    Return text from a sender that is safe to show on a terminal.

    Sequences that move the cursor, set the title or write to the clipboard are replaced by ``�``.
    Colours are kept; they end with the text.
    """
    shown = _HARMFUL.sub(lambda found: found[1] or "�", text)
    return shown + _RESET if "\x1b" in shown else shown
