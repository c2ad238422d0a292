# SPDX-License-Identifier: Apache-2.0

"""Standard input, read when there is something to read."""

from __future__ import annotations

import os

from twisted.internet.testing import MemoryReactor
from twisted.trial.unittest import SynchronousTestCase

from logplex.cli.commands.send import StandardInput


class StandardInputTests(SynchronousTestCase):
    """A pipe, and a reactor that reports it as readable."""

    def setUp(self) -> None:
        self.reactor = MemoryReactor()
        self.reading, self.writing = os.pipe()
        self.addCleanup(os.close, self.reading)
        self.taken: list[bytes] = []
        self.ends: list[OSError | None] = []
        self.source = StandardInput(self.reactor, self.reading, self.taken.append, self.ends.append)
        self.source.resume()

    def is_reading(self) -> bool:
        return self.source in self.reactor.getReaders()

    def test_chunks_and_the_end(self) -> None:
        os.write(self.writing, b"some")
        self.source.doRead()
        self.assertTrue(self.is_reading())
        os.close(self.writing)
        self.source.doRead()
        self.assertEqual(([b"some"], [None]), (self.taken, self.ends))
        self.assertFalse(self.is_reading())

    def test_pause(self) -> None:
        self.addCleanup(os.close, self.writing)
        self.source.pause()
        self.assertFalse(self.is_reading())
        self.source.resume()
        self.assertTrue(self.is_reading())

    def test_nothing_there(self) -> None:
        """A non-blocking descriptor without data has not ended."""
        self.addCleanup(os.close, self.writing)
        os.set_blocking(self.reading, False)
        self.source.doRead()
        self.assertEqual(([], []), (self.taken, self.ends))
        self.assertTrue(self.is_reading())

    def test_error(self) -> None:
        """An error is reported once, and is not taken for the end."""
        self.addCleanup(os.close, self.writing)
        directory = os.open(".", os.O_RDONLY)
        self.addCleanup(os.close, directory)
        source = StandardInput(self.reactor, directory, self.taken.append, self.ends.append)
        source.resume()
        source.doRead()
        (error,) = self.ends
        assert error is not None
        self.assertEqual("Is a directory", error.strerror)

    def test_no_reading_after_the_end(self) -> None:
        os.close(self.writing)
        self.source.doRead()
        self.source.resume()
        self.assertFalse(self.is_reading())
