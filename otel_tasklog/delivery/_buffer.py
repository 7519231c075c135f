"""The bounded place between a log call and the worker.

Guarantees of `Intake.accept`: no lock, no wait, no allocation but the deque's. The
only thing that wakes the worker is ``SimpleQueue.put``, which is safe in a signal
handler that interrupts another ``put``; ``Event.set`` and ``queue.Queue`` deadlock
there. What does not fit is dropped, oldest first, and counted.
"""

from __future__ import annotations

import enum
from collections import deque
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, SIZE, Captured
from otel_tasklog.delivery._counter import Counter

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["WAKE_RECORDS", "Intake", "Wake"]

WAKE_RECORDS: Final = 512
"""A power of two: the worker is woken once for so many records."""

FOLLOWED_SECONDS: Final = 0.1
"""While somebody follows, a record waits no longer for others."""


class Wake(enum.Enum):
    """Why the worker is woken by a log call."""

    FIRST = enum.auto()
    """A record came while the worker was parked: take it within the delay."""

    MANY = enum.auto()
    """So many came that they should be taken now."""


class Intake:
    """Hands records from any thread to the worker.

    Args:
        records: How many may wait.
        size_bytes: How many bytes may wait, by the records' own estimate.
        export_level: Dropping a record below it is no loss for delivery.
        start: Starts the worker; called by the first record of a process.
        followed: Whether somebody waits for the records to be finished.
    """

    def __init__(
        self,
        *,
        records: int,
        size_bytes: int,
        export_level: int,
        start: Callable[[], bool],
        followed: Callable[[], bool] = bool,
    ) -> None:
        self.waiting: deque[Captured] = deque()
        self.taken: list[Captured] = []
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.parked = True  # until the first record starts the worker
        self.hurried = False  # a Wake.MANY is on its way
        self.room_records = records
        self.room_bytes = size_bytes
        self.waiting_bytes = 0
        self.dropped = Counter()
        self.unseen = Counter()
        self._export_level = export_level
        self._start = start
        self.followed = followed
        self._relieving = False

    def accept(self, captured: Captured) -> None:
        """Take a record. On the caller's thread; never waits."""
        waiting = self.waiting
        waiting.append(captured)
        # One unit for the interpreter, which changes threads at calls and jumps
        # only; were an update lost all the same, a soft bound would move by it.
        self.waiting_bytes = size = self.waiting_bytes + captured[SIZE]
        if self.parked:
            # First, for a signal handler may raise at any of these calls.
            started = self._start()
            self.parked = not started
            self.inbox.put(Wake.FIRST)
        elif not captured[SEQUENCE] % WAKE_RECORDS and not self.hurried:
            self.hurried = True
            self.inbox.put(Wake.MANY)
        if size > self.room_bytes or len(waiting) > self.room_records:
            self._relieve()

    def _relieve(self) -> None:
        """Drop the oldest records until the rest fits.

        Freeing a record may run a ``__del__`` that logs, through a context value
        of the application. That call must not start dropping too, or it would
        recurse for as long as there are such records.
        """
        if self._relieving:
            return
        self._relieving = True
        try:
            while self.waiting and (
                self.waiting_bytes > self.room_bytes
                or len(self.waiting) > self.room_records
            ):
                oldest = self.waiting.popleft()
                self.waiting_bytes -= oldest[SIZE]
                lost = oldest[ORIGIN][1] >= self._export_level
                (self.dropped if lost else self.unseen).add()
        except IndexError:  # another thread took the last one
            return
        finally:
            self._relieving = False

    def delay_seconds(self, longest: float) -> float:
        """Return for how long a record may wait for others now."""
        return min(longest, FOLLOWED_SECONDS) if self.followed() else longest

    def take(self, limit: int) -> list[Captured]:
        """Take the oldest records. On the worker's thread only.

        Until the next call they stay visible in ``taken``, so that a reader who
        looks at ``waiting`` first and there next misses none.
        """
        taken: list[Captured] = []
        self.taken = taken
        while len(taken) < limit and self.waiting:
            try:
                taken.append(self.waiting[0])
            except IndexError:  # an overflow came between
                break
            try:
                popped = self.waiting.popleft()
            except IndexError:  # likewise; it has been counted as dropped
                taken.pop()
                break
            taken[-1] = popped  # another one, if an overflow came between
            self.waiting_bytes -= popped[SIZE]
        return taken

    def exportable(self) -> int:
        """Return how many of those that wait are to be delivered."""
        waiting = self.waiting.copy()
        return sum(each[ORIGIN][1] >= self._export_level for each in waiting)

    def unfinished(self) -> list[Captured]:
        """Return what waits and what is being finished, oldest first. Any thread."""
        waiting = self.waiting.copy()
        taken = self.taken.copy()
        if not taken:
            return [*waiting]
        # What was taken after the first look is in both.
        both = {each[SEQUENCE]: each for each in (*taken, *waiting)}
        return [both[sequence] for sequence in sorted(both)]
