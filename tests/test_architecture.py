"""
The house rules that can be read off the source: who imports whom, and how long a module is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from attrs import asdict, frozen
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

import logplex
from logplex.config import Settings

ROOT = Path(logplex.__file__).parent

#: Imports go downward only: a part imports from the rows below its own, and within its own row
#: only where the row says so. A part is a module or package directly below ``logplex``.
LAYERS: tuple[tuple[frozenset[str], bool], ...] = (
    # parts                                                      may import each other
    (frozenset({"tap", "cli"}), False),
    (frozenset({"service", "assembly", "listeners", "log_filter", "first_credential"}), True),
    (frozenset({"inputs", "drains", "tails", "store", "api"}), False),
    (
        frozenset(
            {
                "router",
                "registry",
                "firehose",
                "metrics_channel",
                "authentication",
                "throttle",
                "web",
            }
        ),
        True,
    ),
    (frozenset({"waiting"}), False),
    (frozenset({"certificates", "interfaces", "config", "metrics", "rods"}), True),
    (frozenset({"syslog", "model", "destination", "session", "export"}), True),
)

#: Who may import what, beside the layers: every other part may not.
PRIVILEGES = {
    "txredisapi": {"store"},
    "twisted.internet.reactor": {"tap", "cli"},
}

#: Parts that work without Twisted: bytes in, events out.
PURE = {"syslog", "model", "destination", "session", "export"}

MAX_LINES = 400

T = TypeVar("T")


@frozen
class Import:
    """One imported name, where it stands, and which part of the house imports it."""

    module: str
    line: int
    part: str
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"

    def of(self, package: str) -> bool:
        """Whether this imports the package, or something in it."""
        return self.name == package or self.name.startswith(package + ".")


def modules() -> Iterator[tuple[str, str, str]]:
    """Every module's path below the package, its part, and its source."""
    for path in sorted(ROOT.rglob("*.py")):
        relative = path.relative_to(ROOT)
        if relative.parts != ("__init__.py",):
            yield str(relative), relative.parts[0].removesuffix(".py"), path.read_text("utf-8")


def imports_in(module: str, part: str, source: str) -> Iterator[Import]:
    """Every name that the source imports, wherever the statement stands in it."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, part, alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(module, node.lineno, part, f"{origin}.{alias.name}")


def all_imports() -> list[Import]:
    return [each for module in modules() for each in imports_in(*module)]


def subclasses(of: type[T]) -> Iterator[type[T]]:
    """Every class that is derived from this one, at any distance."""
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def layer_of(part: str) -> int:
    """The part's row, counted from the top."""
    for number, (parts, _) in enumerate(LAYERS):
        if part in parts:
            return number
    raise AssertionError(f"logplex.{part} has no place in LAYERS: give it one")


def is_allowed(importer: str, imported: str) -> bool:
    """Whether one part may import the other."""
    above, below = layer_of(importer), layer_of(imported)
    return importer == imported or above < below or (above == below and LAYERS[above][1])


def imported_part(each: Import) -> str | None:
    """The part of the house that is imported; ``None`` for other libraries and the version."""
    names = each.name.split(".")
    if names[0] != "logplex" or each.name == "logplex.__version__":
        return None
    return names[1] if len(names) > 1 else None


class RulesTests(SynchronousTestCase):
    """The rules themselves, on examples: a rule that lets everything pass would show nothing."""

    def test_downward(self) -> None:
        self.assertTrue(is_allowed("service", "drains"))
        self.assertTrue(is_allowed("drains", "model"))

    def test_upward(self) -> None:
        self.assertFalse(is_allowed("router", "drains"))
        self.assertFalse(is_allowed("model", "interfaces"))

    def test_sideways(self) -> None:
        self.assertFalse(is_allowed("drains", "tails"))
        self.assertFalse(is_allowed("cli", "tap"))
        self.assertTrue(is_allowed("router", "registry"))

    def test_without_place(self) -> None:
        with self.assertRaisesRegex(AssertionError, "no place in LAYERS"):
            layer_of("utilities")

    def test_reading(self) -> None:
        """Every form of import is seen, also within functions."""
        source = (
            "import logplex.tails.feed\n"
            "from logplex import drains\n"
            "from .store import sqlite\n"
            "def f():\n"
            "    from twisted.internet import reactor\n"
        )
        found = list(imports_in("x.py", "x", source))
        self.assertEqual(
            [each.name for each in found],
            [
                "logplex.tails.feed",
                "logplex.drains",
                ".store.sqlite",
                "twisted.internet.reactor",
            ],
        )
        self.assertEqual([imported_part(each) for each in found], ["tails", "drains", None, None])


class HouseTests(SynchronousTestCase):
    """The source as it is."""

    def test_imports_go_downward(self) -> None:
        wrong = []
        for each in all_imports():
            part = imported_part(each)
            if part is not None and not is_allowed(each.part, part):
                wrong.append(str(each))
        self.assertEqual(wrong, [])

    def test_rooms_of_the_store(self) -> None:
        """A node alone loads nothing of Redis, and links know nothing of shards."""
        barred = {
            "embedded": {"redis", "shards"},
            "redis": {"embedded", "shards"},
            "shards": {"embedded"},
        }
        wrong = [
            str(each)
            for room, others in barred.items()
            for path in sorted((ROOT / "store" / room).glob("*.py"))
            for each in imports_in(path.name, "store", path.read_text())
            if others.intersection(each.name.removeprefix("logplex.store.").split(".")[:1])
        ]
        self.assertEqual(wrong, [])

    def test_no_relative_imports(self) -> None:
        self.assertEqual([str(each) for each in all_imports() if each.name.startswith(".")], [])

    def test_no_circles(self) -> None:
        """Parts of one row may import each other, but not in a circle."""
        graph: dict[str, set[str]] = {}
        for each in all_imports():
            part = imported_part(each)
            if part is not None and part != each.part:
                graph.setdefault(each.part, set()).add(part)
        while graph:
            leaves = {part for part, imported in graph.items() if not imported & graph.keys()}
            if not leaves:
                self.fail(f"import each other: {sorted(graph)}")
            for leaf in leaves:
                del graph[leaf]

    def test_privileges(self) -> None:
        """Only the store talks to Redis, and only what starts the process picks the reactor."""
        wrong = [
            str(each)
            for each in all_imports()
            for package, parts in PRIVILEGES.items()
            if each.of(package) and each.part not in parts
        ]
        self.assertEqual(wrong, [])

    def test_pure_parts(self) -> None:
        """Wire format and values know nothing of Twisted."""
        wrong = [str(each) for each in all_imports() if each.part in PURE and each.of("twisted")]
        self.assertEqual(wrong, [])

    def test_lengths(self) -> None:
        """A module has one subject; past this length it has two."""
        lengths = {module: source.count("\n") for module, _, source in modules()}
        self.assertEqual([name for name, length in lengths.items() if length > MAX_LINES], [])

    def test_options_are_obeyed(self) -> None:
        """Every option of the configuration file is looked at by some other part."""
        read = {
            node.attr
            for _, part, source in modules()
            if part != "config"
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Attribute)
        }
        options = {
            f"[{section}] {option}"
            for section, values in asdict(Settings()).items()
            # Those of [listen] are looked at by the names of the listeners.
            if isinstance(values, dict) and section != "listen"
            for option in values
        }
        self.assertIn("[node] name", options)
        self.assertEqual({each for each in options if each.split()[1] not in read}, set())

    def test_docstrings(self) -> None:
        """Every module says what it is for."""
        bare = [
            module
            for module, _, source in modules()
            if source.strip() and not ast.get_docstring(ast.parse(source))
        ]
        self.assertEqual(bare, [])

    def test_objects_show_only_their_class(self) -> None:
        """
        What is no value (``@define(eq=False)``) has ``repr=False``: its repr would go through
        everything that it holds, and a line of the log that names it would show messages and
        tokens.
        """
        talkative = [
            f"{module}:{node.lineno} {node.name}"
            for module, _, source in modules()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ClassDef)
            for decorator in map(ast.unparse, node.decorator_list)
            if "eq=False" in decorator and "repr=False" not in decorator
        ]
        self.assertEqual(talkative, [])

    def test_quiet_factories(self) -> None:
        """Twisted logs when a factory starts and stops, with its repr, unless it is told not to."""
        for module, _, _ in modules():
            import_module("logplex." + module.removesuffix(".py").replace("/", "."))
        noisy = [
            f"{each.__module__}.{each.__qualname__}"
            for each in subclasses(Factory)
            if each.__module__.startswith("logplex.") and each.noisy
        ]
        self.assertEqual(noisy, [])

    def test_no_possessive_groups(self) -> None:
        """
        ``(...)++`` and its like match wrongly before Python 3.11.5 (CPython issue 106052), and
        Debian 12 has 3.11.2.
        """
        groups = re.compile(r"\)(?:[*+?]|\{[0-9,]+\})\+")
        wrong = [
            f"{module}:{node.lineno}"
            for module, _, source in modules()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")
            for pattern in node.args[:1]
            if groups.search(ast.unparse(pattern))
        ]
        self.assertEqual(wrong, [])
