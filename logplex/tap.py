# SPDX-License-Identifier: Apache-2.0

"""
The command ``twistd logplex``: it reads the options and the settings, and makes the service of the
node.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn, cast

from twisted.application.service import IService
from twisted.logger import Logger
from twisted.python.usage import CompleteFiles, Completions
from twisted.python.usage import Options as UsageOptions

from logplex import __version__
from logplex.node.signals import ignore_signals

# The rest is imported when it is needed: it takes a moment, and signals are to be ignored before.
if TYPE_CHECKING:
    from logplex.settings import Settings

_log = Logger()


class Options(UsageOptions):
    """
    The options of the command ``twistd logplex``.

    :ivar settings: the settings of the node. They are known after the options have been parsed.
    """

    settings: Settings

    synopsis = "[--config FILE]"
    longdesc = (
        "Run a Logplex node: receive syslog messages over TCP and HTTP, route them by token, and"
        " send them to drains. Without --config every option has its default, and the node listens"
        " on the loopback interface only. docs/settings.md explains the settings file and the"
        " environment variables."
    )
    optParameters = [["config", "c", None, "The settings file (TOML)."]]
    compData = Completions(optActions={"config": CompleteFiles("*.toml")})

    def __init__(self) -> None:
        super().__init__()
        ignore_signals()

    def opt_version(self) -> NoReturn:
        """Show the version of Logplex, and exit."""
        print(f"Logplex {__version__}")
        sys.exit(0)

    def postOptions(self) -> None:
        """
        Read the settings file. At this moment the process still has a terminal for error messages.

        :raise SystemExit: the settings have mistakes. The text has a line for each mistake. The
            exit status is 1.
        """
        from logplex.settings import SettingsError

        try:
            self.settings = self.load()
        except SettingsError as error:
            raise SystemExit(str(error)) from None
        if self["config"] is not None:
            # The daemon changes its working directory, and reads the file again at SIGHUP.
            self["config"] = str(Path(self["config"]).absolute())

    def load(self) -> Settings:
        """
        Read the settings file again.

        :raise SettingsError: the settings have mistakes.
        """
        from logplex.settings import load_settings

        return load_settings(self["config"], os.environ)


def makeService(options: Options) -> IService:
    """Return the service of a node, for ``twistd``."""
    from twisted.internet import reactor

    from logplex.clock import make_steady
    from logplex.interfaces import IReactor
    from logplex.node.descriptors import raise_limit
    from logplex.node.log_output import LogOutput
    from logplex.node.service import make_service
    from logplex.settings import unknown_variables

    make_steady(reactor)
    # twistd writes its log there, unless its options name another place.
    output = LogOutput(sys.__stdout__.fileno()) if sys.__stdout__ is not None else None
    if output is not None and sys.stdout is sys.__stdout__:
        sys.stdout = output
    file = options["config"]
    for line in unknown_variables(os.environ):
        _log.warn("settings: {line}", line=line)
    origin = "logplex" if file is None else f"logplex: {file}"
    return make_service(
        options.settings,
        cast(IReactor, reactor),
        options.load,
        origin,
        log_output=output,
        descriptor_limit=raise_limit(),
    )
