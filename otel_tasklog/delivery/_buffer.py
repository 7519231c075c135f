"""The bounded place between a log call and the worker.

Guarantees of `Intake.accept`: no lock, no wait, no allocation but the deque's. The
only thing that wakes the worker is ``SimpleQueue.put``, which is safe in a signal
handler that interrupts another ``put``; ``Event.set`` and ``queue.Queue`` deadlock
there. What does not fit is dropped, oldest or newest first, and counted.

One exception: with ``block_seconds`` a thread that runs no event loop waits, by looking
again and again, for the worker to make room; it takes no lock either.
"""

from __future__ import annotations

import enum
import sys
import time
from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage]
from collections import deque
from queue import SimpleQueue
from threading import get_ident
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, SIZE, TIMESTAMP_NS
from otel_tasklog.delivery._counter import Counter

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from otel_tasklog.capture._record import Whole

__all__ = ["WAKE_RECORDS", "Intake", "Wake"]

WAKE_RECORDS: Final = 512
"""A power of two: the worker is woken once for so many records."""

LOOK_SECONDS: Final = 0.002
"""So often a thread that waits for room looks for it."""

FOLLOWED_SECONDS: Final = 0.1
"""While somebody follows, a record waits no longer for others."""


REST_SECONDS: Final = 0.1
"""Several threads that log and leave the interpreter to nobody go first so long."""


class Wake(enum.Enum):
    """Why the worker is woken by a log call."""

    FIRST = enum.auto()
    """A record came while the worker was parked: take it within the delay."""

    MANY = enum.auto()
    """So many came that they should be taken now."""


class Intake:
    """Hands records from any thread to the worker.

    Args:
        limits: How many records and, by their own estimate, bytes may wait.
        export_level: Dropping a record below it is no loss for delivery.
        start: Starts the worker; called by the first record of a process.
        followed: Whether somebody waits for the records to be finished.
        drop_newest: Whether what does not fit is the newest, not the oldest.
        block_seconds: How long a thread without an event loop waits for room first.
        own_threads: The idents of threads that must not wait.
    """

    def __init__(
        self,
        *,
        limits: tuple[int, int],
        export_level: int,
        start: Callable[[], bool],
        followed: Callable[[], bool] = bool,
        drop_newest: bool = False,
        block_seconds: float = 0.0,
        own_threads: Collection[int | None] = (),
    ) -> None:
        self.waiting: Final[deque[Whole]] = deque()
        self._append: Final = self.waiting.append
        self.taken: list[Whole] = []
        self.inbox: SimpleQueue[object] = SimpleQueue()
        self.parked = True  # until the first record starts the worker
        self.hurried = False  # a Wake.MANY is on its way
        self.resting = False  # the worker knows that there are many, and comes later
        self._last_thread: int | None = None
        self.max_records, self.max_bytes = limits
        # Kept free by the worker for what comes before its next turn.
        self.reserve_records = min(self.max_records // 8, 2 * WAKE_RECORDS)
        self.reserve_bytes = self.max_bytes // 8
        self._block_seconds = block_seconds
        self._own_threads = own_threads
        self._drop_newest = drop_newest
        self.leave_room(0, 0)
        self.waiting_bytes = 0
        self.dropped_bytes = 0
        self.dropped = Counter()
        self.unseen = Counter()
        self._export_level = export_level
        self._start = start
        self.followed = followed
        self._relieving = False

    def accept(self, captured: Whole) -> None:
        """Take a record. On the caller's thread; waits with ``block_seconds`` alone."""
        # As numbers, which compiled code need not ask for what they can do.
        sequence: int = captured[SEQUENCE]
        size: int = captured[SIZE]
        self._append(captured)
        # One unit for the interpreter, which changes threads at calls and jumps
        # only; were an update lost all the same, a soft bound would move by it.
        self.waiting_bytes = size = self.waiting_bytes + size
        if self.parked:
            # First, for a signal handler may raise at any of these calls.
            started = self._start()
            self.parked = not started
            self.inbox.put(Wake.FIRST)
            self._start()  # the threads may have left between the two, for a fork
        elif not sequence % WAKE_RECORDS and not self.resting:
            self._hurry()
        if size > self._ease_bytes or len(self.waiting) > self._ease_records:
            self._relieve()

    def wake(self) -> None:
        """Have the worker take what waits, and deliver. Returns at once."""
        self.inbox.put(Wake.MANY)

    def leave_room(self, records: int, size_bytes: int) -> None:
        """Take no more than fits beside what the outbox holds. From the worker."""
        self._room_records = max(self.max_records - records, 1)
        self._room_bytes = max(self.max_bytes - size_bytes, 1)
        # Who can wait does so before the worker has to drop anything.
        self._calm_records = self._room_records - 2 * self.reserve_records
        self._calm_bytes = self._room_bytes - 2 * self.reserve_bytes
        ease_records, ease_bytes = self._room_records // 2, self._room_bytes // 2
        if self._block_seconds:
            ease_records = min(ease_records, self._calm_records)
            ease_bytes = min(ease_bytes, self._calm_bytes)
        self._ease_records, self._ease_bytes = ease_records, ease_bytes

    def _relieve(self) -> None:
        """Hurry the worker; wait for it, or drop, if that is too late."""
        self._hurry()
        if (
            self._block_seconds
            and _get_running_loop() is None
            and get_ident() not in self._own_threads
        ):
            self._await_room()
        self._drop()

    def _hurry(self) -> None:
        """Have the worker take what waits, once until it looks."""
        if not self.hurried:
            self.hurried = True
            self.inbox.put(Wake.MANY)

    def _await_room(self) -> None:
        """Wait for the worker, by looking: a lock could be held by who is waiting."""
        ends = time.monotonic() + self._block_seconds
        while time.monotonic() < ends and (
            self.waiting_bytes > self._calm_bytes
            or len(self.waiting) > self._calm_records
        ):
            self._hurry()
            time.sleep(LOOK_SECONDS)

    def _drop(self) -> None:
        """Drop records until the rest fits.

        Freeing a record may run a ``__del__`` that logs, through a context value
        of the application. That call must not start dropping too, or it would
        recurse for as long as there are such records.
        """
        if self._relieving:
            return
        self._relieving = True
        try:
            while self.waiting and (
                self.waiting_bytes > self._room_bytes
                or len(self.waiting) > self._room_records
            ):
                end = self.waiting.pop if self._drop_newest else self.waiting.popleft
                record = end()
                self.waiting_bytes -= record[SIZE]
                if record[ORIGIN][1] >= self._export_level:
                    self.dropped_bytes += record[SIZE]
                    self.dropped.add()
                else:
                    self.unseen.add()
        except IndexError:  # another thread took the last one
            return
        finally:
            self._relieving = False

    def early(
        self, now: float, due: float | None, breathe: Callable[[], float]
    ) -> float:
        """Return when to take what is much: now, or after a burst of log calls.

        Threads that log without a pause keep the interpreter until it is taken away.
        What is finished meanwhile is time that they wait for, so a burst of several
        goes first: for a while, never beyond what was due anyway, and as long as
        there is room. On the worker's thread only.

        Args:
            now: The time.
            due: When something is to be taken anyway.
            breathe: Lets other threads run, and returns the time after that.
        """
        self.hurried = False
        if due is not None and due <= now:  # the worker is at it already
            return due
        if not self._several():
            return now
        self.resting = True  # first, or the next call wakes the worker again
        after = breathe()
        if (
            after - now < sys.getswitchinterval() / 2
            or self.waiting_bytes > self._ease_bytes
            or len(self.waiting) > self._ease_records
        ):
            return now
        rest_ends = after + REST_SECONDS
        return rest_ends if due is None else min(rest_ends, due)

    def _several(self) -> bool:
        """Return whether more than one thread logs, as far as three records tell."""
        try:
            ends = self.waiting[0], self.waiting[-1]
        except IndexError:  # even a single one is dropped if it is too large
            return False
        before, (first, last) = self._last_thread, map(_thread_of, ends)
        self._last_thread = last
        return first != last or before not in (None, last)

    def delay_seconds(self, longest: float) -> float:
        """Return for how long a record may wait for others now."""
        return min(longest, FOLLOWED_SECONDS) if self.followed() else longest

    def take(self, limit: int) -> list[Whole]:
        """Take the oldest records. On the worker's thread only.

        Until the next call they stay visible in ``taken``, so that a reader who
        looks at ``waiting`` first and there next misses none.
        """
        taken: list[Whole] = []
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
            size: int = popped[SIZE]
            self.waiting_bytes -= size
        return taken

    def exportable(self) -> int:
        """Return how many of those that wait are to be delivered."""
        waiting = self.waiting.copy()
        return sum(each[ORIGIN][1] >= self._export_level for each in waiting)

    def oldest_ns(self) -> int | None:
        """Return when the oldest of those was logged, or None if there is none."""
        for each in self.waiting.copy():
            if each[ORIGIN][1] >= self._export_level:
                logged_ns: int = each[TIMESTAMP_NS]
                return logged_ns
        return None

    def unfinished(self) -> list[Whole]:
        """Return what waits and what is being finished, oldest first. Any thread."""
        waiting = self.waiting.copy()
        taken = self.taken.copy()
        if not taken:
            return [*waiting]
        # What was taken after the first look is in both.
        both = {each[SEQUENCE]: each for each in (*taken, *waiting)}
        return [both[sequence] for sequence in sorted(both)]


def _thread_of(record: Whole) -> int | None:
    """Return which thread logged a record; comparing it calls nothing of others."""
    thread = record[ORIGIN][6]
    return thread if type(thread) is int else None
