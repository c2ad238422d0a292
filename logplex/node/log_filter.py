"""
How much the log tells: a level that can change while the node runs.
"""

from __future__ import annotations

from twisted.logger import (
    FilteringLogObserver,
    LogLevel,
    LogLevelFilterPredicate,
    LogPublisher,
)


class LogFilter:
    """
    Keeps what is below a level from all who observe a log.

    :param level: a name of :class:`twisted.logger.LogLevel`.
    """

    def __init__(self, log: LogPublisher, level: str) -> None:
        self._log = log
        self._predicate = LogLevelFilterPredicate()
        # twistd puts standard error into the log: the line that a failed start ends with.
        self._predicate.setLogLevelForNamespace("stderr", LogLevel.debug)
        self.set_level(level)

    def set_level(self, level: str) -> None:
        """What is below this level is not told from now on."""
        self._predicate.setLogLevelForNamespace("", LogLevel.levelWithName(level))

    def begin(self) -> None:
        """Stand before everybody who observes the log by now."""
        # The observer that twistd made from its own options (a file, standard output, syslog) is
        # given to nobody, and one of ours in its place would have to understand all of these.
        for observer in list(self._log._observers):
            self._log.removeObserver(observer)
            self._log.addObserver(FilteringLogObserver(observer, [self._predicate]))
