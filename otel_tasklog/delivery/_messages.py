"""What the worker is told, besides records and the sender's answers; and its clock."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Clock", "Errand", "Flush", "MonotonicClock", "Stop"]


class Clock(Protocol):
    """What the worker asks for the time."""

    def monotonic(self) -> float:
        """Return seconds that only grow."""
        ...


class MonotonicClock:
    """The machine's clock."""

    def monotonic(self) -> float:
        """Return ``time.monotonic()``."""
        return time.monotonic()


class Flush:
    """A wish that all accepted so far be settled.

    Args:
        done: Called once, on the worker's thread, with whether it all was
            delivered or finally refused.
    """

    def __init__(self, done: Callable[[bool], None]) -> None:
        self.done = done
        self.entered = 0  # all records that had come to the outbox
        self.dropped: int | None = None  # how many had been given up before
        self.left = 0  # how many that waited at its time still wait


class Errand:
    """Something to be done soon on the worker's thread, outside of its lock.

    Args:
        run: Does it; what it raises is lost.
    """

    def __init__(self, run: Callable[[], None]) -> None:
        self.run = run


class Stop:
    """A wish to end: deliver what is there, give up the rest at *deadline*."""

    def __init__(self, deadline: float) -> None:
        self.deadline = deadline
