"""
What differs between two configurations: what a running node has to do about SIGHUP.
"""

from __future__ import annotations

from collections.abc import Iterator

import attrs
from attrs import frozen

from logplex.settings.sections import Settings


@frozen
class Changed:
    """An option whose value is another one now. As a string: how people write it."""

    section: str
    option: str | None = None

    def __str__(self) -> str:
        return f"[{self.section}] {self.option}" if self.option else f"[[{self.section}]]"


def changed_options(old: Settings, new: Settings) -> Iterator[Changed]:
    """Every option that differs, in the order of the sections. Values are not told: secrets."""
    for section in attrs.fields(Settings):
        before, after = getattr(old, section.name), getattr(new, section.name)
        if before == after:
            continue
        if not attrs.has(type(before)):
            yield Changed(section.name)
            continue
        for option in attrs.fields(type(before)):
            if getattr(before, option.name) != getattr(after, option.name):
                yield Changed(section.name, option.name)
