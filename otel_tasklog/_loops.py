"""Which event loops there are, and who watches them.

asyncio tells nobody. A loop is known from where it is running when `install` is called
or an ``async with`` is entered, or else from the first record, or scope, of a task in it.
"""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING
from weakref import WeakSet

from otel_tasklog._loop_metrics import lag_recorder
from otel_tasklog.capture._tasks import forget_loops, note_loop, seen_loops
from otel_tasklog.live._census import count_tasks
from otel_tasklog.live._watchdog import Watchdog

if TYPE_CHECKING:
    import logging
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from otel_tasklog._config import Config

__all__ = ["Loops"]


class Loops:
    """Knows the event loops, and has each watched, once.

    Args:
        handler: Captures what is said of a loop.
        config: ``blocked_after_seconds`` and ``meter_provider`` count.
        watch: Watches a loop, too. It is called from any thread, within a log call
            perhaps: it must take no lock and not wait.
    """

    def __init__(
        self,
        handler: logging.Handler,
        config: Config,
        watch: Callable[[AbstractEventLoop], None],
    ) -> None:
        self._known: WeakSet[AbstractEventLoop] = WeakSet()
        self._closed = False
        self._watchers = [watch]
        self._watchdog: Watchdog | None = None
        if config.blocked_after_seconds is not None:
            on_lag = lag_recorder(config.meter_provider)
            self._watchdog = Watchdog(handler, config.blocked_after_seconds, on_lag)
            self._watchers.append(self._watchdog.watch)

    def look(self) -> None:
        """Look whether there are others. Often, on the worker's thread."""
        for loop in seen_loops()[0]:
            self._note(loop)

    def note_running(self) -> None:
        """Know the loop that this is called in, if it is in one."""
        with contextlib.suppress(RuntimeError):
            loop = asyncio.get_running_loop()
            note_loop(loop)
            self._note(loop)

    def lag_seconds(self) -> float | None:
        """Return for how long a callback had to wait in the last minute, at worst.

        None if nobody watches a loop. From any thread.
        """
        return None if self._watchdog is None else self._watchdog.lag_seconds()

    def count_tasks(self) -> int:
        """Return how many tasks are alive in the loops that are known. Any thread."""
        return count_tasks()

    def close(self) -> None:
        """Watch none any more."""
        self._closed = True
        if self._watchdog is not None:
            self._watchdog.close()

    def renew(self) -> None:
        """Start over in a forked child, in which none of its parent's loops runs."""
        forget_loops()
        self._known = WeakSet()
        if self._watchdog is not None:
            self._watchdog.renew()

    def _note(self, loop: AbstractEventLoop) -> None:
        with contextlib.suppress(TypeError):  # it cannot be referred to weakly
            if self._closed or loop in self._known or loop.is_closed():
                return
            self._known.add(loop)
            for watch in self._watchers:
                watch(loop)
