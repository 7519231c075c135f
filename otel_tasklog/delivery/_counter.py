"""A counter that any thread and any signal handler may count on."""

from __future__ import annotations

import itertools
import threading

__all__ = ["Counter"]


class Counter:
    """Counts without a lock: ``next()`` of an ``itertools.count`` is one step.

    Reading draws a number too and allows for it, so the numbers that `add`
    returns ascend but may have gaps.
    """

    def __init__(self) -> None:
        count = itertools.count()
        self.add = count.__next__
        self._reads = 0
        # Of readers alone. Re-entrant, for a signal handler may read as well.
        self._reading = threading.RLock()

    @property
    def value(self) -> int:
        """How often `add` was called."""
        with self._reading:
            reads = self._reads
            self._reads = reads + 1
            return self.add() - reads
