# SPDX-License-Identifier: Apache-2.0

"""``logplex store`` against a node."""

from __future__ import annotations

import json
import os
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.commands.store import PART_BYTES, PART_VALUES, parts
from logplex.model.export import export_values, import_values
from logplex.model.values import Channel, Drain, Token, Value
from tests.doubles.commands import CliCase


class PartsTests(SynchronousTestCase):
    """The values of one request."""

    @settings(deadline=None, max_examples=20)
    @given(st.lists(st.integers(0, 200_000), max_size=20), st.integers(0, 1_200))
    def test_all_in_order(self, lengths: list[int], count: int) -> None:
        values: list[Value] = [Channel(f"c{n}", "x" * size) for n, size in enumerate(lengths)]
        values += [Token(f"t.{n}", "c", "app") for n in range(count)]
        cut = list(parts(values))
        self.assertEqual(values, [value for part in cut for value in part])
        for part in cut:
            self.assertTrue(0 < len(part) <= PART_VALUES)
            self.assertLess(len(json.dumps(export_values(part))), PART_BYTES + 100_000)


class StoreTests(CliCase):
    """Exports from a node, and imports into one."""

    def written(self, document: Any) -> str:
        file = self.home / "in.json"
        file.write_text(json.dumps(document))
        return str(file)

    def assert_everything(self, document: object) -> None:
        """The export is the content of the store."""
        self.assertCountEqual(self.registry.values(), import_values(document))

    def test_export_to_a_link(self) -> None:
        """The file that a link names is replaced, not the link."""
        target = self.home / "target.json"
        link = self.home / "link.json"
        for content in ("old", None):
            link.unlink(missing_ok=True)
            target.unlink(missing_ok=True)
            if content is not None:
                target.write_text(content)
            link.symlink_to("target.json")
            self.lines("store", "export", str(link))
            self.assertTrue(link.is_symlink())
            self.assertIn("channels", json.loads(target.read_text()))
            self.assertEqual(0o600, target.stat().st_mode & 0o777)

    def test_export_to_a_pipe(self) -> None:
        """A pipe is written to, and stays a pipe."""
        pipe = self.home / "pipe"
        os.mkfifo(pipe)
        reader = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        self.addCleanup(os.close, reader)
        self.lines("store", "export", str(pipe))
        self.assertIn("channels", json.loads(os.read(reader, 1_000_000)))
        self.assertTrue(pipe.is_fifo())

    def test_export(self) -> None:
        """Only the owner can read the file."""
        file = self.home / "out.json"
        told = self.lines("store", "export", str(file))
        self.assertEqual(["exported 2 channels, 2 tokens, 3 drains, 1 credentials"], told)
        self.assert_everything(json.loads(file.read_text()))
        self.assertEqual(0o600, file.stat().st_mode & 0o777)

    def test_export_to_standard_output(self) -> None:
        document = json.loads("".join(self.lines("store", "export", "-")))
        self.assert_everything(document)

    def test_order(self) -> None:
        """Two exports of the same configuration are the same text."""
        self.put(Channel("b"), Drain(10, "app", "d.10"), Channel("a"))
        document = json.loads("".join(self.lines("store", "export", "-")))
        self.assertEqual(["a", "app", "b", "empty"], [each["id"] for each in document["channels"]])
        self.assertEqual([1, 2, 3, 10], [each["id"] for each in document["drains"]])

    def test_import(self) -> None:
        """An import in several parts."""
        values: list[Value] = [Channel(f"c{n}") for n in range(PART_VALUES)]
        values += [Token("t.1", "c1", "app", 1), Drain(7, "c1", "d.7", "http://h")]
        told = self.lines("store", "import", self.written(export_values(values)))
        self.assertEqual(
            [f"imported {PART_VALUES} channels, 1 tokens, 1 drains, 0 credentials"], told
        )
        self.assertLess(set(values), set(self.registry.values()))
        self.assertEqual(2, self.net.asked)

    def test_import_of_something_else(self) -> None:
        """No request is sent, and the content of the file is not shown."""
        for document, why in (
            ([], "it must be an object"),
            ({"channels": [{"id": "a/b"}]}, "channels[0]: 'id' is missing or wrong"),
        ):
            result = self.run_command("store", "import", self.written(document))
            self.assertFails(1, f"this is not a configuration: {why}", result)
        (self.home / "in.json").write_text("{hidden")
        result = self.run_command("store", "import", str(self.home / "in.json"))
        self.assertFails(1, "this is not JSON", result)
        self.assertEqual(0, self.net.asked)

    def test_missing_file(self) -> None:
        file = self.home / "none.json"
        result = self.run_command("store", "import", str(file))
        self.assertFails(4, f"{file}: there is no such file", result)

    def test_wrong_store(self) -> None:
        """The URL of a store is not shown, since it may contain a password."""
        for arguments, status in (
            (["--store", "redis://:hidden@host/x"], 2),
            (["--store", "/nowhere/hidden.db"], 4),
        ):
            result = self.run_command("store", "export", "-", *arguments)
            self.assertEqual(status, result.exit_code, result.output)
            self.assertNotIn("hidden", result.output)
