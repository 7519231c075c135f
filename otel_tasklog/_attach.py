"""Where a TaskLog touches what is everybody's: loggers, ``atexit``, SIGTERM.

Everything done by `Attachment.attach` is undone by `Attachment.detach`.
"""

from __future__ import annotations

import atexit
import logging
import sys
import threading
from typing import TYPE_CHECKING

from otel_tasklog._config import level_number
from otel_tasklog._process import TerminationGuard
from otel_tasklog.delivery._senders import HTTP_LOGGERS

if TYPE_CHECKING:
    from collections.abc import Callable, Container

    from otel_tasklog._config import Config

__all__ = ["Attachment"]


class Attachment:
    """Attaches a handler to ``logging`` and a TaskLog's end to the process's.

    Args:
        handler: The handler.
        config: ``loggers``, ``level``, ``console`` and ``handle_sigterm`` count.
        own_threads: Threads whose HTTP client is to be heard nowhere.
    """

    def __init__(
        self,
        handler: logging.Handler,
        config: Config,
        *,
        own_threads: Container[int | None],
    ) -> None:
        self._handler = handler
        self._config = config
        self._own_threads = own_threads
        self._loggers = [
            logging.getLogger(each) if isinstance(each, str) else each
            for each in config.loggers
        ]
        self._console: logging.Handler | None = None
        self._level_before: int | None = None
        self._level_set = logging.NOTSET
        self._guard: TerminationGuard | None = None

    def attach(
        self,
        *,
        at_exit: Callable[[], object],
        at_termination: Callable[[], object],
    ) -> None:
        """Attach everything the settings ask for."""
        root = logging.getLogger()
        if self._config.console is True or (
            self._config.console == "auto" and root in self._loggers
            and not root.handlers
        ):  # fmt: skip
            self._console = _last_resort()
            root.addHandler(self._console)
        if self._config.level is not None:
            self._level_before = root.level
            root.setLevel(level_number("level", self._config.level))
            self._level_set = root.level
        for logger in self._loggers:
            logger.addHandler(self._handler)
        for name in HTTP_LOGGERS:
            logging.getLogger(name).addFilter(self._not_ours)
        atexit.register(at_exit)
        if self._config.handle_sigterm:
            self._guard = TerminationGuard(at_termination)
            self._guard.arm()

    def detach(self, *, at_exit: Callable[[], object]) -> None:
        """Undo it, but for what somebody else changed meanwhile."""
        atexit.unregister(at_exit)
        self.disarm()
        for logger in self._loggers:
            logger.removeHandler(self._handler)
        for name in HTTP_LOGGERS:
            logging.getLogger(name).removeFilter(self._not_ours)
        root = logging.getLogger()
        if self._console is not None:
            root.removeHandler(self._console)
        if self._level_before is not None and root.level == self._level_set:
            root.setLevel(self._level_before)

    def disarm(self) -> None:
        """Give SIGTERM back; only the main thread can."""
        if self._guard is not None:
            self._guard.disarm()

    def _not_ours(self, record: logging.LogRecord) -> bool:
        return (record.thread or threading.get_ident()) not in self._own_threads


def _last_resort() -> logging.Handler:
    """Return a handler equal to the one that ``logging`` uses when there is none."""
    console = logging.StreamHandler(sys.stderr)
    console.setLevel(logging.WARNING)
    return console
