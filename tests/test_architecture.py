# SPDX-License-Identifier: Apache-2.0

"""
The house rules that can be read off the source: who imports whom, and how long a module is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import TypeVar

from attrs import asdict, frozen
from twisted.internet.protocol import Factory
from twisted.trial.unittest import SynchronousTestCase

import logplex
from logplex.settings import Settings

ROOT = Path(logplex.__file__).parent

T = TypeVar("T")
Rows = tuple[tuple[str, ...], ...]

#: From the top down. A place imports from the rows below its own: never up, never sideways.
HOUSE: Rows = (
    ("tap", "cli"),
    ("node",),
    ("api", "configuration", "console", "drains", "inputs", "spool", "tails"),
    ("access", "journal", "redis", "routing", "web"),
    ("sqlite_file", "waiting"),
    ("certificates", "dialects", "interfaces", "settings"),
    ("metrics", "model", "syslog"),
    ("clock", "hosts", "live"),
)

#: The same within a room. "*" is everything that is not named: the door and its neighbours.
ROOMS: dict[str, Rows] = {
    "api": (("legacy", "v3"), ("*",)),
    "cli": (
        ("main",),
        ("commands",),
        ("command",),
        ("runtime",),
        ("client", "offline"),
        ("arguments", "failures"),
    ),
    "configuration": (("*",), ("redis", "sqlite"), ("schema",)),
    "drains": (("*",), ("kinds",), ("delivery", "formats", "network")),
    "spool": (("*",), ("cluster", "memory")),
    "spool/cluster": (("*",), ("shard",), ("wire",)),
    "tails": (
        ("page",),
        ("service",),
        ("channel", "leases"),
        ("tail",),
        ("group", "pasts"),
        ("join",),
        ("view",),
        ("window",),
    ),
}

#: Rooms that see less than what lies below them: the command starts no node (of a journal
#: it reads the file), and a client of Redis
#: or SQLite knows of Logplex only what it raises.
BLIND = {
    "cli": {"node", "api", "console", "drains", "inputs", "spool", "tails", "web"},
    "redis": {"metrics", "settings", "model", "syslog"},
    "sqlite_file": {"certificates", "metrics", "settings", "model", "syslog"},
}

#: The places that may import a library; no other place may.
LIBRARIES = {
    "txredisapi": {"redis"},
    "hiredis": {"redis"},
    "sqlite3": {"configuration/schema", "configuration/sqlite", "journal", "sqlite_file"},
    "msgpack": {"journal", "spool/cluster/wire"},
    "h11": {"drains/kinds"},
    "klein": {"api"},
    "werkzeug": {"api"},
    "cattrs": {"settings"},
    "click": {"cli"},
    "twisted.internet.reactor": {"tap", "cli/runtime"},
    # Durations go by the clock of the reactor, stamps by ``logplex.clock.wall_s``.
    "time": {"clock", "node/log_output"},
}

#: Bytes and values: no Twisted here.
PURE = {
    "dialects",
    "hosts",
    "live",
    "syslog",
    "model",
    "drains/formats",
    "drains/kinds/http_answers",
    "inputs/compression",
    "spool/cluster/ring",
    "spool/cluster/wire",
    "tails/join",
    "tails/view",
    "tails/window",
    "cli/client/events",
    "cli/client/frames",
    "cli/client/lines",
}

MAX_LINES = 400

#: Modules that are longer, to be divided: the decoder found one more rule at the last moment.
LONGER = {"syslog/framing": 450}


@frozen
class Import:
    """One imported name, and the module and line that import it (``drains/kinds/http``)."""

    module: str
    line: int
    name: str

    def __str__(self) -> str:
        return f"{self.module}:{self.line} imports {self.name}"

    def of(self, package: str) -> bool:
        """Return whether this imports the package, or something in it."""
        return self.name == package or self.name.startswith(package + ".")


def modules() -> Iterator[tuple[str, str]]:
    """Yield every module, as its path below the package without ``.py``, and its source."""
    for path in sorted(ROOT.rglob("*.py")):
        module = path.relative_to(ROOT).with_suffix("").as_posix()
        if module != "__init__":
            yield module, path.read_text("utf-8")


def imports_in(module: str, source: str) -> Iterator[Import]:
    """Yield every name that the source imports, also from within functions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield Import(module, node.lineno, alias.name)
        elif isinstance(node, ast.ImportFrom):
            origin = "." * node.level + (node.module or "")
            for alias in node.names:
                yield Import(module, node.lineno, f"{origin}.{alias.name}")


def all_imports() -> list[Import]:
    return [each for module in modules() for each in imports_in(*module)]


def stands_in(module: str, places: Iterable[str]) -> bool:
    """Return whether a module is one of the places, or in one of them."""
    return any(module == place or module.startswith(place + "/") for place in places)


def subclasses(of: type[T]) -> Iterator[type[T]]:
    """Every class that is derived from this one, at any distance."""
    for each in of.__subclasses__():
        yield each
        yield from subclasses(each)


def is_allowed(importer: str, imported: str) -> bool:
    """Return whether a module may import another; both as ``drains/kinds/http``."""
    rows, room = HOUSE, ""
    above, below = importer.split("/"), imported.split("/")
    if below[0] in BLIND.get(above[0], ()):
        return False
    while True:
        known = {name: row for row, names in enumerate(rows) for name in names}
        one, other = (name if name in known else "*" for name in (above[0], below[0]))
        if {one, other} - known.keys():
            raise AssertionError(f"{importer} or {imported} has no place in the house: give it one")
        if one != other:
            return known[one] < known[other]
        room = f"{room}/{one}".lstrip("/")
        if room not in ROOMS:
            return True
        rows, above, below = ROOMS[room], above[1:], below[1:]


def imported_place(each: Import) -> str | None:
    """Return the place in the house that is imported; ``None`` for libraries and the version."""
    names = each.name.split(".")
    if names[0] != "logplex" or each.name == "logplex.__version__" or len(names) == 1:
        return None
    while not is_module(names):
        names.pop()
    return "/".join(names[1:])


def is_module(names: list[str]) -> bool:
    path = ROOT.joinpath(*names[1:])
    return len(names) <= 2 or path.is_dir() or path.with_suffix(".py").is_file()


class RulesTests(SynchronousTestCase):
    """The rules themselves, on examples: a rule that lets everything pass would show nothing."""

    def test_downward(self) -> None:
        self.assertTrue(is_allowed("node/service", "drains/service"))
        self.assertTrue(is_allowed("drains/service", "model/values"))
        self.assertTrue(is_allowed("drains/service", "drains/kinds"))

    def test_upward(self) -> None:
        self.assertFalse(is_allowed("routing/router", "drains/service"))
        self.assertFalse(is_allowed("model/values", "interfaces"))
        self.assertFalse(is_allowed("drains/kinds/http", "drains/service"))

    def test_sideways(self) -> None:
        self.assertFalse(is_allowed("drains/service", "tails/service"))
        self.assertFalse(is_allowed("cli/main", "tap"))
        self.assertFalse(is_allowed("api/legacy/site", "api/v3/site"))
        self.assertTrue(is_allowed("routing/router", "routing/registry"))

    def test_blind(self) -> None:
        self.assertFalse(is_allowed("cli/main", "node/service"))
        self.assertFalse(is_allowed("redis/link", "metrics"))

    def test_without_place(self) -> None:
        with self.assertRaisesRegex(AssertionError, "no place in the house"):
            is_allowed("utilities", "model/values")

    def test_reading(self) -> None:
        """Every form of import is seen, also within functions."""
        source = (
            "import logplex.tails.join\n"
            "from logplex import drains\n"
            "from .store import sqlite\n"
            "def f():\n"
            "    from twisted.internet import reactor\n"
        )
        found = list(imports_in("x", source))
        self.assertEqual(
            [each.name for each in found],
            [
                "logplex.tails.join",
                "logplex.drains",
                ".store.sqlite",
                "twisted.internet.reactor",
            ],
        )
        self.assertEqual(
            [imported_place(each) for each in found], ["tails/join", "drains", None, None]
        )


class HouseTests(SynchronousTestCase):
    """The source as it is."""

    def test_imports_go_downward(self) -> None:
        wrong = []
        for each in all_imports():
            place = imported_place(each)
            if place is not None and not is_allowed(each.module, place):
                wrong.append(str(each))
        self.assertEqual(wrong, [])

    def test_no_relative_imports(self) -> None:
        self.assertEqual([str(each) for each in all_imports() if each.name.startswith(".")], [])

    def test_no_circles(self) -> None:
        """No modules import each other in a circle, not even for types."""
        graph: dict[str, set[str]] = {}
        for each in all_imports():
            place = imported_place(each)
            if place is not None:
                if (ROOT / place).is_dir():
                    place += "/__init__"
                graph.setdefault(each.module, set()).add(place)
        while graph:
            leaves = {module for module, imported in graph.items() if not imported & graph.keys()}
            if not leaves:
                self.fail(f"import each other: {sorted(graph)}")
            for leaf in leaves:
                del graph[leaf]

    def test_libraries(self) -> None:
        """A library that a room contains is imported by no other room."""
        wrong = [
            str(each)
            for each in all_imports()
            for library, places in LIBRARIES.items()
            if each.of(library) and not stands_in(each.module, places)
        ]
        self.assertEqual(wrong, [])

    def test_pure_places(self) -> None:
        """Wire formats and values know nothing of Twisted."""
        wrong = [
            str(each)
            for each in all_imports()
            if stands_in(each.module, PURE) and each.of("twisted")
        ]
        self.assertEqual(wrong, [])

    def test_lengths(self) -> None:
        """A module has one subject; past this length it has two."""
        lengths = {module: source.count("\n") for module, source in modules()}
        # All contracts between rooms stand in one file, as many as they are.
        del lengths["interfaces"]
        long = [each for each in lengths if lengths[each] > LONGER.get(each, MAX_LINES)]
        self.assertEqual(long, [])

    def test_options_are_obeyed(self) -> None:
        """Every option of the settings file is looked at by some other part."""
        read = {
            node.attr
            for module, source in modules()
            if not stands_in(module, ["settings"])
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
            for module, source in modules()
            if source.strip() and not ast.get_docstring(ast.parse(source))
        ]
        self.assertEqual(bare, [])

    def test_objects_show_only_their_class(self) -> None:
        """
        A class that is not a value (``@define(eq=False)``) has ``repr=False``: its repr would show
        everything that it holds, and a log line with it would show messages and tokens.
        """
        talkative = [
            f"{module}:{node.lineno} {node.name}"
            for module, source in modules()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ClassDef)
            for decorator in map(ast.unparse, node.decorator_list)
            if "eq=False" in decorator and "repr=False" not in decorator
        ]
        self.assertEqual(talkative, [])

    def test_quiet_factories(self) -> None:
        """Twisted logs when a factory starts and stops, with its repr, unless it is told not to."""
        for module, _ in modules():
            import_module("logplex." + module.replace("/", "."))
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
            for module, source in modules()
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.Call) and ast.unparse(node.func).startswith("re.")
            for pattern in node.args[:1]
            if groups.search(ast.unparse(pattern))
        ]
        self.assertEqual(wrong, [])
