"""
The documentation: what it refers to exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


def pages() -> list[Path]:
    """Every page that a reader may begin with."""
    return [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]


def anchors(page: Path) -> set[str]:
    """The page's headings, as links name them."""
    headings = re.findall(r"^#+ (.+)$", page.read_text("utf-8"), flags=re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def links() -> Iterator[tuple[Path, str, str]]:
    """Every link to something in this repository: page, path, anchor."""
    for page in pages():
        for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text("utf-8")):
            if not re.match(r"[a-z]+:", target):
                path, _, anchor = target.partition("#")
                yield page, path, anchor


class LinksTests(SynchronousTestCase):
    """Links within the repository."""

    def test_there_are_some(self) -> None:
        self.assertGreater(len(list(links())), 10)

    def test_targets(self) -> None:
        broken = []
        for page, path, anchor in links():
            target = (page.parent / path).resolve() if path else page
            if not target.exists() or (anchor and anchor not in anchors(target)):
                broken.append(f"{page.name}: {path}#{anchor}")
        self.assertEqual(broken, [])


class MetricsTests(SynchronousTestCase):
    """Metrics that pages name."""

    def test_exist(self) -> None:
        source = "".join(path.read_text("utf-8") for path in (ROOT / "logplex").rglob("*.py"))
        exported = set(re.findall(r'"(logplex_\w+)"', source))
        named = {
            name.removesuffix("_total")
            for page in pages()
            for name in re.findall(r"`(logplex_\w+)", page.read_text("utf-8"))
        }
        self.assertGreater(len(named), 5)
        self.assertEqual(named - exported, set())
