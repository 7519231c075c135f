"""What the worker is told, besides records and the sender's answers; and its clock."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Protocol

from otel_tasklog._text import count_of
from otel_tasklog.delivery._waiting import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["Answer", "Clock", "Errand", "Flush", "MonotonicClock", "Stop", "farewell"]


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
        timeout_seconds: For how long somebody waits for it.
    """

    def __init__(
        self, done: Callable[[bool], None], timeout_seconds: float = math.inf
    ) -> None:
        self.done = done
        self.timeout_seconds = timeout_seconds
        self.deadline = math.inf
        self.entered = 0  # all records that had come to the outbox
        self.dropped: int | None = None  # how many had been given up before
        self.left = 0  # how many that waited at its time still wait


class Answer:
    """What a thread waits for, and the worker gives."""

    def __init__(self) -> None:
        self.given = Latch()
        self.value = False

    def give(self, value: bool) -> None:  # noqa: FBT001 - called with it alone
        """Give the answer."""
        self.value = value
        self.given.set()


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


def farewell(lost: int, spooled: int, dropped: int, cause: str) -> str:
    """Return what is said of the records that an end did not deliver.

    Args:
        lost: How many it costs.
        spooled: How many are on disk, for the next process.
        dropped: How many were given up before.
        cause: Why.
    """
    fates = [f"{count_of(lost)} lost"] if lost or not spooled else []
    fates += [f"{count_of(spooled)} in the spool"] if spooled else []
    fates += [f"{dropped} dropped before"] if dropped else []
    return f"the TaskLog closed with {', '.join(fates)}: {cause}"
