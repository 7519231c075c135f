"""Levels of loggers, changed while the program runs, and back by themselves.

A thread puts back what was changed for a while. It is there only as long as there is
something to put back, ends before a fork, and begins again on both sides of it.

What somebody else changes meanwhile stays as they have it.
"""

from __future__ import annotations

import contextlib
import logging
import math
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Literal, NamedTuple, TypeAlias

from otel_tasklog._config import level_number
from otel_tasklog._errors import ClosedError, ConfigError
from otel_tasklog._process import (
    park_before_fork,
    renew_after_fork,
    resume_after_fork,
)

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["LevelSetter", "Levels"]

LONGEST_WAIT_SECONDS: Final = 1e8
PARK_SECONDS: Final = 0.05
"""At most so long a fork waits until the thread has left."""


_Word: TypeAlias = Literal["look", "end"]
"""What the thread is told: that something has changed, or to end."""


class _Change(NamedTuple):
    """What a logger's level was, is, and until when, by the clock."""

    before: int
    level: int
    until: float


class Levels:
    """The loggers whose levels one TaskLog has changed. From any thread.

    Args:
        clock: Returns seconds that only go forward.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._changes: dict[logging.Logger, _Change] = {}
        self._closed = False
        self._begin()
        park_before_fork(self)
        resume_after_fork(self)
        renew_after_fork(self)

    def _begin(self) -> None:
        # One that a signal handler can take which interrupted who has it.
        self._lock = threading.RLock()
        self._wake: SimpleQueue[_Word] = SimpleQueue()
        self._thread: threading.Thread | None = None

    def change(
        self, logger: logging.Logger, level: int, for_seconds: float | None
    ) -> None:
        """Give a logger a level, for a while or until the end."""
        until = math.inf if for_seconds is None else self._clock() + for_seconds
        with self._lock:
            known = self._changes.get(logger)
            ours = known is not None and known.level == logger.level
            before = known.before if known is not None and ours else logger.level
            logger.setLevel(level)
            self._changes[logger] = _Change(before, logger.level, until)
            self._watch()

    def put_back(self, logger: logging.Logger) -> None:
        """Give a logger the level back that it had, if it still has ours."""
        with self._lock:
            change = self._changes.pop(logger, None)
            if change is not None and logger.level == change.level:
                logger.setLevel(change.before)

    def close(self) -> None:
        """Put back all; end the thread."""
        with self._lock:
            for logger in [*self._changes]:
                self.put_back(logger)
        self._wake.put("end")

    def park(self) -> None:
        """End the thread before a fork; `resume` and `renew` begin another."""
        thread = self._thread
        if thread is not None:
            self._wake.put("end")
            thread.join(PARK_SECONDS)

    def resume(self) -> None:
        """Go on in the process that forked."""
        with self._lock:
            if self._thread is not None:
                self._thread = None
                self._watch()

    def renew(self) -> None:
        """Go on in a forked child, whose loggers have the levels of the parent's."""
        self._begin()
        self._watch()

    def put_back_due(self) -> float | None:
        """Put back what was to last until now.

        Returns:
            In how many seconds to look again; None if nothing else goes back by itself.
        """
        with self._lock:
            now = self._clock()
            for logger, change in [*self._changes.items()]:
                if change.until <= now:
                    self.put_back(logger)
            next_at = min([x.until for x in self._changes.values()], default=math.inf)
            if next_at == math.inf:
                self._thread = None  # it ends
                return None
            return min(next_at - now, LONGEST_WAIT_SECONDS)

    def _watch(self) -> None:
        """Have the thread look when the next one is to go back."""
        if all(each.until == math.inf for each in self._changes.values()):
            return
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._run, args=(self._wake,), name="otel_tasklog levels",
                daemon=True,
            )  # fmt: skip
            self._thread.start()
        else:
            self._wake.put("look")

    def _run(self, wake: SimpleQueue[_Word]) -> None:
        while (seconds := self.put_back_due()) is not None:
            with contextlib.suppress(Empty):
                if wake.get(timeout=seconds) == "end":
                    return


class LevelSetter:
    """What changes levels of a TaskLog's program while it runs."""

    _levels: Levels
    _closed: bool

    def set_level(
        self,
        logger: logging.Logger | str,
        level: int | str,
        *,
        for_seconds: float | None = None,
    ) -> None:
        """Change the level of a logger: to see more of a part of a running program.

        It goes back after that time, at the next `reset_level`, or when this TaskLog is
        closed, unless somebody else has changed it meanwhile. From any thread; a forked
        child does the same by itself.

        Args:
            logger: The logger or its name; ``"root"`` is the one above all.
            level: Its number or name. Loggers below it that have a level keep that.
            for_seconds: For how long; None until it is reset.

        Raises:
            ConfigError: There is no such level, the logger is neither a Logger nor a
                name, or the time is no number above 0.
            ClosedError: You closed this TaskLog.
        """
        if self._closed:
            raise ClosedError("set_level")
        number = level_number("level", level)
        given: object = for_seconds
        if given is not None and not (
            isinstance(given, int | float) and 0 < given < math.inf
        ):
            raise ConfigError("for_seconds", for_seconds, "a number above 0, or None")
        self._levels.change(_logger(logger), number, for_seconds)

    def reset_level(self, logger: logging.Logger | str) -> None:
        """Give a logger the level back that it had before the first `set_level`.

        Args:
            logger: The logger or its name.

        Raises:
            ConfigError: It is neither.
        """
        self._levels.put_back(_logger(logger))


def _logger(logger: logging.Logger | str) -> logging.Logger:
    if isinstance(logger, logging.Logger):
        return logger
    if not isinstance(logger, str):
        raise ConfigError("logger", logger, "a Logger or its name")
    return logging.getLogger(logger)
