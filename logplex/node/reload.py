# SPDX-License-Identifier: Apache-2.0

"""
SIGHUP: read the settings again, apply the options that can change while the node runs, and name
the options that need a restart.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Iterator
from typing import Any

import attrs
from attrs import frozen
from twisted.logger import (
    FilteringLogObserver,
    Logger,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
)

from logplex.certificates import BadPem
from logplex.interfaces import IReactor
from logplex.node.assembly import Parts
from logplex.settings import Settings, SettingsError
from logplex.syslog.notices import timestamp

_log = Logger()

#: The sections that can change while the node runs; every other section needs a restart.
_LIVE_SECTIONS = ("limits", "log", "rods", "tls")


class LogFilter:
    """
    A filter that drops the events of the node's log below a level. The level can change.

    :param level: a name of :class:`twisted.logger.LogLevel`.
    """

    def __init__(self, log: LogPublisher, level: str) -> None:
        self._log = log
        self._predicate = LogLevelFilterPredicate()
        # twistd writes standard error into the log: the last line of a failed start.
        self._predicate.setLogLevelForNamespace("stderr", LogLevel.debug)
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """Drop all log events below this level from now on."""
        self._predicate.setLogLevelForNamespace("", LogLevel.levelWithName(level))

    def begin(self) -> None:
        """Let all present observers of the log see only the events that pass the filter."""
        # twistd makes the observer from its own options (a file, standard output, syslog) and
        # offers no way to get it. An observer of ours would have to support all these options.
        for observer in list(self._log._observers):
            self._log.removeObserver(observer)
            self._log.addObserver(FilteringLogObserver(observer, [self._predicate]))


@frozen
class ChangedOption:
    """
    An option whose value has changed. Its string is the option as operators write it.

    :ivar option: the name of the option; ``None`` for a list of tables, such as
        ``[[credentials]]``.
    """

    section: str
    option: str | None = None

    def __str__(self) -> str:
        return f"[{self.section}] {self.option}" if self.option else f"[[{self.section}]]"


def changed_options(old: Settings, new: Settings) -> Iterator[ChangedOption]:
    """
    Yield every option whose value differs between two settings, in the order of the sections.

    The values are not yielded, because they can be secret.
    """
    sections = attrs.asdict(new, recurse=False)
    for section, before in attrs.asdict(old, recurse=False).items():
        after: Any = sections[section]
        if before == after:
            continue
        if not attrs.has(type(before)):
            yield ChangedOption(section)
            continue
        options = attrs.asdict(after, recurse=False)
        for option, value in attrs.asdict(before, recurse=False).items():
            if value != options[option]:
                yield ChangedOption(section, option)


class Reload:
    """
    The reaction to SIGHUP: apply the settings again.

    :param settings: the present settings of the node.
    :param load: reads the settings; may raise :class:`~logplex.settings.SettingsError`.
    """

    def __init__(
        self,
        settings: Settings,
        parts: Parts,
        log_filter: LogFilter,
        load: Callable[[], Settings],
        *,
        reactor: IReactor,
    ) -> None:
        self._settings = settings
        self._parts = parts
        self._log_filter = log_filter
        self._load = load
        self._reactor = reactor

    def begin(self) -> None:
        """Reload the settings on each SIGHUP from now on."""
        signal.signal(signal.SIGHUP, self._sighup)

    def end(self) -> None:
        """Ignore SIGHUP from now on, because the default action would kill the process."""
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _sighup(self, *_: object) -> None:
        self._reactor.callFromThread(self._reload)

    def _reload(self) -> None:
        try:
            new = self._load()
        except SettingsError as error:
            _log.error("SIGHUP: nothing changed: {error}", error=error)
            return
        self._log_filter.set_level(new.log.level)
        all_changed = list(changed_options(self._settings, new))
        for changed in all_changed:
            if changed.section in _LIVE_SECTIONS:
                _log.info("SIGHUP: {option} has a new value", option=str(changed))
            else:
                _log.warn("SIGHUP: {option} needs a restart", option=str(changed))
        self._parts.limits.now = new.limits
        self._parts.panel.configure(new.rods)
        self._settings = attrs.evolve(
            self._settings, limits=new.limits, log=new.log, rods=new.rods, tls=new.tls
        )
        if not self._reload_certificates() and not all_changed:
            _log.info("SIGHUP: nothing has changed")

    def _reload_certificates(self) -> bool:
        """
        Read the files of certificates again, even if the settings have not changed: a renewed
        certificate has the same file name.

        :return: true if a line about the certificates was logged.
        """
        tls = self._parts.tls
        if tls is None:
            return False
        try:
            is_new = tls.reload(self._settings.tls)
        except BadPem as error:
            _log.error("SIGHUP: the old certificate stays: {error}", error=error)
            return True
        if is_new:
            until = timestamp(tls.expires_s)[:10].decode()
            _log.info("SIGHUP: the new certificate is in use, until {until}", until=until)
        return is_new
