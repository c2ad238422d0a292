# SPDX-License-Identifier: Apache-2.0

"""
Programs of other people's packages from npm, in pinned versions.
"""

from __future__ import annotations

import re
import shutil
from hashlib import blake2b
from pathlib import Path

from twisted.trial.unittest import SkipTest

from tests.integration.process import ROOT, Child, within

#: Packages that are installed once are kept here.
_KEPT = ROOT / "build" / "npm"

#: An installation takes at most this long, in seconds.
INSTALL_S = 90.0

# What npm says if its registry cannot be reached.
_AWAY = re.compile(r"\b(E(AI_AGAIN|NOTFOUND|CONNREFUSED|CONNRESET|TIMEDOUT)|ERR_SOCKET_TIMEOUT)\b")


async def node_modules(*packages: str) -> Path:
    """
    Install packages, and return the directory in which ``require`` finds them.

    :param packages: each with its version, ``name@1.2.3``.
    :raise SkipTest: Node.js or npm is not there, or the registry is away.
    """
    npm = shutil.which("npm")
    if npm is None or shutil.which("node") is None:
        raise SkipTest("needs the programs node and npm")
    name = blake2b("\0".join(sorted(packages)).encode(), digest_size=8).hexdigest()
    directory = _KEPT / name
    done = directory / "done"
    if done.exists():
        return directory
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(parents=True)
    (directory / "package.json").write_text("{}")
    options = "--no-audit", "--no-fund", "--ignore-scripts", "--fetch-retries=1"
    child = Child.spawn([npm, "install", *options, *packages], directory)
    ended = await within(child.ended(), "npm has installed the packages", INSTALL_S)
    if ended.status:
        if _AWAY.search("\n".join(child.lines)):
            raise SkipTest("the registry of npm is away")
        raise ended
    done.touch()
    return directory


async def run_script(directory: Path, script: str, *arguments: str) -> None:
    """Run a script of JavaScript with the packages of a directory; wait until it ends."""
    child = Child.spawn([str(shutil.which("node")), "-e", script, *arguments], directory)
    ended = await within(child.ended(), "the script ends")
    if ended.status:
        raise ended
