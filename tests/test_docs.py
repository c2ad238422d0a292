# SPDX-License-Identifier: Apache-2.0

"""
The documentation: what it refers to exists.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import yaml
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


class ContractTests(SynchronousTestCase):
    """``docs/protocol.md`` is for people, ``docs/openapi*.yaml`` for machines; all are complete."""

    def test_routes(self) -> None:
        """Every method and path of the APIs is in the contract."""
        contract = (ROOT / "docs" / "protocol.md").read_text("utf-8")
        for name in ("openapi.yaml", "openapi-legacy.yaml"):
            described = yaml.safe_load((ROOT / "docs" / name).read_text("utf-8"))
            missing = [
                f"{method.upper()} {path}"
                for path, methods in described["paths"].items()
                for method in methods.keys() - {"parameters"}
                if not re.search(
                    rf"`{method.upper()} {re.escape(in_contract(path))}[`? ]", contract
                )
            ]
            self.assertEqual(missing, [])


def in_contract(path: str) -> str:
    """A described path with its variables as the contract writes them."""
    path = re.sub(r"\{(?:channel|credential)_id\}", ":id", path)
    return (
        path.replace("{drain_id}", ":drain")
        .replace("{session_id}", ":uuid")
        .replace("{token_id}", ":token")
    )


class ReferenceTests(SynchronousTestCase):
    """Pages that comments and help texts name."""

    def test_pages_exist(self) -> None:
        sources = [*(ROOT / "logplex").rglob("*.py"), *(ROOT / "etc").rglob("*")]
        named = {
            name
            for path in sources
            if path.is_file()
            for name in re.findall(r"\bdocs/[\w.]+\b", path.read_text("utf-8"))
        }
        self.assertIn("docs/settings.md", named)
        self.assertEqual([name for name in sorted(named) if not (ROOT / name).exists()], [])


class RecipeTests(SynchronousTestCase):
    """``CONTRIBUTING.md`` says where a new thing goes."""

    def test_places_exist(self) -> None:
        text = (ROOT / "CONTRIBUTING.md").read_text("utf-8")
        recipes = text.partition("## Where does it go?")[2].partition("## How the code reads")[0]
        places = set(re.findall(r"`([\w./]+/[\w.]*)`", recipes))
        self.assertGreater(len(places), 15)
        # The folder comes with the second format.
        missing = {
            place
            for place in places - {"drains/formats/"}
            if not any((ROOT / base / place).exists() for base in ("", "logplex"))
        }
        self.assertEqual(missing, set())


class ArchitectureTests(SynchronousTestCase):
    """``docs/architecture.md`` names every folder and module at the top of the code."""

    def test_rooms(self) -> None:
        page = (ROOT / "docs" / "architecture.md").read_text("utf-8")
        rooms = {path.name for path in (ROOT / "logplex").iterdir() if any(path.glob("*.py"))}
        modules = {path.stem for path in (ROOT / "logplex").glob("*.py")} - {"__init__"}
        self.assertGreater(len(rooms), 10)
        self.assertEqual({room for room in rooms if f"| `{room}/` |" not in page}, set())
        self.assertEqual({name for name in modules if f"`{name}`" not in page}, set())


class LineTests(SynchronousTestCase):
    """Prose is wrapped as the code is: at 100 characters."""

    def test_prose(self) -> None:
        long = [
            f"{page.name}:{number}"
            for page in pages()
            for number, line in prose(page.read_text("utf-8"))
            if len(line) > 100
        ]
        self.assertEqual(long, [])


def prose(text: str) -> Iterator[tuple[int, str]]:
    """Yield the numbered lines of a page that are neither in a table nor in a code block."""
    in_block = False
    for number, line in enumerate(text.splitlines(), 1):
        in_block ^= line.startswith("```")
        if not in_block and not line.startswith(("|", "    ", "```")):
            yield number, line
