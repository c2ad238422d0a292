# SPDX-License-Identifier: Apache-2.0

"""
The rules of language that can be held by a test: docstrings, names of classes, the glossary.
"""

from __future__ import annotations

import ast
import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent
CODE = ("bench", "logplex", "tests", "twisted")

#: A docstring that begins with one of these words says what the thing is about, not what it is.
QUESTION = re.compile(r"(What|How|Whether|Where|Who|Which|Whose)\b")
#: Words that hide who does something: the caller, the store, another program.
VAGUE = re.compile(r"(?i:\b(anybody|nobody|somebody|whoever)\b)")

Documented = (ast.Module, ast.ClassDef, ast.FunctionDef, ast.AsyncFunctionDef)


def sources(*places: str) -> Iterator[tuple[str, str]]:
    """Yield the path below the repository, and the text, of every module in these places."""
    for place in places:
        for path in sorted((ROOT / place).rglob("*.py")):
            yield path.relative_to(ROOT).as_posix(), path.read_text("utf-8")


def docstrings(source: str) -> Iterator[tuple[int, str]]:
    """Yield the line and the text of every docstring."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, Documented):
            text = ast.get_docstring(node)
            if text is not None:
                yield node.body[0].lineno, text


class DocstringTests(SynchronousTestCase):
    """The first words of docstrings."""

    def test_examples(self) -> None:
        for text in ("What a tail shows.", "Whether it ends.", "Who asks", "How"):
            self.assertTrue(QUESTION.match(text), text)
        for text in ("Return whether it ends.", "Whatever", "Whole lines.", "However"):
            self.assertFalse(QUESTION.match(text), text)

    def test_beginnings(self) -> None:
        """A docstring begins with a verb or a noun, not with a question word."""
        wrong = [
            f"{path}:{line} {text.splitlines()[0]}"
            for path, source in sources(*CODE)
            for line, text in docstrings(source)
            if QUESTION.match(text)
        ]
        self.assertEqual(wrong, [])

    def test_vague_words(self) -> None:
        """The text says who does something: no "nobody", "somebody", "whoever"."""
        wrong = [
            f"{path}:{number} {line.strip()}"
            for path, source in sources("logplex")
            for number, line in enumerate(source.splitlines(), 1)
            if VAGUE.search(line) and "NOBODY" not in line
        ]
        self.assertEqual(wrong, [])


class NameTests(SynchronousTestCase):
    """The names of classes."""

    def test_once(self) -> None:
        """A class name exists once: one word for one thing, one thing for one word."""
        found = Counter(
            node.name
            for _, source in sources("logplex")
            for node in ast.walk(ast.parse(source))
            if isinstance(node, ast.ClassDef)
        )
        self.assertEqual([name for name, times in found.items() if times > 1], [])


class GlossaryTests(SynchronousTestCase):
    """``docs/glossary.md``"""

    def rows(self) -> list[list[str]]:
        """Return the cells of every row of the tables, without their heads."""
        text = (ROOT / "docs/glossary.md").read_text("utf-8")
        rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("|")]
        return [row for row in rows if not row[0].startswith("---") and row[0] != "word"]

    def test_each_word_once(self) -> None:
        words = [word for row in self.rows() for word in row[0].split(", ")]
        self.assertGreater(len(words), 40)
        self.assertEqual([word for word, times in Counter(words).items() if times > 1], [])

    def test_terms_exist(self) -> None:
        """Every term in backticks is a path below the package, or a name in the code."""
        text = (ROOT / "docs/glossary.md").read_text("utf-8")
        code = "\n".join(source for _, source in sources("logplex"))
        terms = re.findall(r"`([^`]+)`", text)
        self.assertIn("model/values.py", terms)
        missing = [
            term
            for term in terms
            if not (ROOT / "logplex" / term).exists()
            and not re.search(rf"\b{re.escape(term)}\b", code)
        ]
        self.assertEqual(missing, [])
