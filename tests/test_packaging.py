# SPDX-License-Identifier: Apache-2.0

"""
The files of a distribution.
"""

from __future__ import annotations

from configparser import ConfigParser
from pathlib import Path

from setuptools import find_namespace_packages
from twisted.trial.unittest import SynchronousTestCase

ROOT = Path(__file__).parent.parent


class PackagesTests(SynchronousTestCase):
    """``setup.cfg`` finds the packages below ``logplex``, and nothing else gets in."""

    def setUp(self) -> None:
        self.declared = ConfigParser()
        self.declared.read(ROOT / "setup.cfg")

    def test_packages(self) -> None:
        """An editable install would hide a package that is missing here."""
        self.assertEqual(self.declared["options"]["packages"], "find_namespace:")
        include = self.declared["options.packages.find"]["include"].split()
        found = find_namespace_packages(str(ROOT), include=include)
        present = {
            ".".join(path.parent.relative_to(ROOT).parts)
            for path in (ROOT / "logplex").rglob("*.py")
        }
        self.assertEqual(set(found), {*present, "twisted.plugins"})

    def test_plugins_are_no_package(self) -> None:
        """An ``__init__.py`` of ours would hide the plugins of everybody else."""
        self.assertFalse((ROOT / "twisted" / "plugins" / "__init__.py").exists())
