# SPDX-License-Identifier: Apache-2.0

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

#: Text from senders that can mislead the reader of a terminal: sequences for colours, and all other
#: control characters but tab and LF; characters without width or that turn the direction of text;
#: and other line ends than LF. A joiner between two letters beyond ASCII belongs to their script.
_HARMFUL = re.compile(
    r"\x1b\[(?P<colours>[0-9;:]*)m"
    r"|(?P<control>[\x00-\x08\x0b-\x1f\x7f-\x9f])"
    r"|(?<=[^\x00-\x7f])(?P<joiner>[\u200c\u200d])(?=[^\x00-\x7f])"
    r"|(?P<unseen>[\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f"
    r"\u2028-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff0-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e0fff])"
)
#: The attributes of text that senders may set: no colour of the background, and no colour or
#: attribute that some terminal shows as the background's.
_ATTRIBUTES = frozenset(
    {"", *map(str, (0, 1, 2, 3, 4, 7, 9, 21, 22, 23, 24, 27, 29, 39))}
    | {*map(str, range(31, 37)), *map(str, range(91, 97))}
)
#: The attributes that are followed by a colour: by its kind, and one or three numbers.
_EXTENDED = frozenset({"38", "48", "58"})
_ARGUMENTS = {"5": 1, "2": 3}
#: The beginning of the later lines of a message, so that none looks like another source's.
_INDENT = "    "
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
        """
        True if the line is a notice by Logplex. A notice without a number is about the tail itself.
        """
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
        """
        Return the part of the filter that the node can apply to a session: one source and one
        process.
        """
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

    Sequences that move the cursor, set the title or write to the clipboard are replaced by ``�``,
    characters that cannot be seen by their code points. Colours are kept if they cannot hide text;
    they end with the text. Later lines are indented.
    """
    shown = _HARMFUL.sub(_harmless, text).replace("\n", "\n" + _INDENT)
    return shown + _RESET if "\x1b" in shown else shown


def _harmless(found: re.Match[str]) -> str:
    if found["colours"] is not None:
        return _colours(found["colours"])
    if found["unseen"]:
        return f"<U+{ord(found['unseen']):04X}>"
    return found["joiner"] or "�"


def _colours(parameters: str) -> str:
    """
    Return an escape sequence with only the colours and styles that senders may use.

    :param parameters: those of the sender's sequence ``ESC [ … m``.
    """
    numbers = iter(parameters.split(";"))
    kept = []
    for each in numbers:
        if each in _EXTENDED:
            for _ in range(_ARGUMENTS.get(next(numbers, ""), 0)):
                next(numbers, "")
        elif each in _ATTRIBUTES:
            kept.append(each or "0")
    return f"\x1b[{';'.join(kept)}m" if kept else ""
