"""The worker: takes, batches, sends, retries, flushes, and ends in time.

It never waits for anything. `Worker.turn` reads one message, does what is due and
says for how long nothing will be; the thread around it, in ``_threads.py``, does
the waiting. So a test can drive it with a clock of its own.
"""

from __future__ import annotations

import contextlib
import logging
import sys
import threading
import time
from collections import deque
from functools import partial
from queue import SimpleQueue
from typing import TYPE_CHECKING, Final

from otel_tasklog._text import count_of
from otel_tasklog.delivery._buffer import WAKE_RECORDS, Wake
from otel_tasklog.delivery._messages import (
    Errand,
    Flush,
    MonotonicClock,
    Stop,
    farewell,
)
from otel_tasklog.delivery._waiting import Latch

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.capture._record import Captured
    from otel_tasklog.delivery._batch import Batch
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._messages import Clock
    from otel_tasklog.delivery._outbox import Outbox
    from otel_tasklog.delivery._senders import Outcome

__all__ = ["Worker"]

SLICE_RECORDS: Final = 128
"""So many records are finished before the event loop's thread gets its turn."""

TURN_RECORDS: Final = 512
"""At most so many before the sender's answers are looked at."""

BEHIND_RECORDS: Final = 1_024
"""With more waiting, the loggers get their turn only once in TURN_RECORDS: one
after each slice would let them win for ever."""

LONGEST_WAIT_SECONDS: Final = 30.0
"""So often an idle worker looks whether it really is."""

SPOOL_SECONDS: Final = 0.5  # longer, for what nobody has put on disk yet

REPORT_SECONDS: Final = 30.0  # at most one line for each cause in this time

_log = logging.getLogger("otel_tasklog")


class Worker:
    """Runs the path of a record after the call.

    Args:
        intake: Where records come from.
        process: Finishes a slice of records: resolves, keeps, adds to the outbox.
        outbox: What is to be sent; None if nothing is exported.
        delay_seconds: How long a record may wait for others.
        reports: Causes and texts of what the application's log is to be told, from
            the other stages too.
        clock: For tests; the machine's by default.

    Attributes:
        to_send: Batches to send, one at a time; None at the end.
        stopped: Set when the worker has ended.
        lock: Held while records change places, so that whoever counts them holds
            it too; a log call never does. Re-entrant, for signal handlers may count.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        process: Callable[[list[Captured], float], None],
        outbox: Outbox | None,
        delay_seconds: float,
        reports: deque[tuple[str, str]] | None = None,
        clock: Clock | None = None,
    ) -> None:
        self._intake = intake
        self._process = process
        self._outbox = outbox
        self._delay_seconds = delay_seconds
        self._told_dropped = 0
        self.clock = clock or MonotonicClock()
        self._take_at: float | None = None
        self._flushes: list[Flush] = []
        self._untaken: list[Flush] = []  # those whose records still wait
        self._stop: Stop | None = None
        self.to_send: SimpleQueue[Batch | None] = SimpleQueue()
        self._stop_done = False
        self.abandoned = 0  # records that the end left no time to finish
        self._reports = deque[tuple[str, str]]() if reports is None else reports
        self._reported: dict[str, float] = {}
        self._to_say: list[Callable[[], None]] = []
        self.stopped = Latch()
        self.lock = threading.Condition()

    def turn(self, message: object) -> float:
        """Do what is due; return for how many seconds nothing will be.

        Args:
            message: What the inbox had, or None when the time was up.
        """
        now = self.clock.monotonic()
        outbox = self._outbox
        orphans = outbox.overflow.find_orphans(now) if outbox is not None else []
        with self.lock:
            if orphans and outbox is not None:
                outbox.entered += outbox.overflow.adopt(orphans)
            self._note(message, now)
            if self._take_at is not None and now >= self._take_at:
                self._take_at = None
                self._intake.resting = False
                early = message is Wake.MANY or self._intake.followed()
                close = not early or self._stop is not None
                self._take(now, close=close, limit=TURN_RECORDS)
                if (
                    len(self._intake.waiting) >= WAKE_RECORDS
                    or self._untaken
                    or (self._stop is not None and self._intake.waiting)
                ):
                    self._take_at = now
            batch = outbox.next_batch(now) if outbox is not None else None
            self._mark_flushes(now)
            self._answer_flushes(now)
            self._maybe_stop(self.clock.monotonic())
            wait = self._wait_seconds(now)
        if batch is not None:
            self.to_send.put(batch)
        if outbox is not None:
            outbox.overflow.sync()
        self._tell()
        return wait

    def _tell(self) -> None:
        """Say what there is to say, without the lock: the listeners may want it."""
        said, self._to_say = self._to_say, []
        while self._reports:
            said.append(partial(self._say, *self._reports.popleft()))
        for say in said:
            with contextlib.suppress(Exception):  # a handler's; the next must hear
                say()
        if self._stop_done:
            self.to_send.put(None)
            self.stopped.set()

    def _note(self, message: object, now: float) -> None:
        outbox = self._outbox
        match message:
            case Wake.FIRST:
                due = now + self._intake.delay_seconds(self._delay_seconds)
                self._take_at = due if self._take_at is None else self._take_at
            case Wake.MANY:
                self._take_at = self._intake.early(now, self._take_at, self._breathe)
            case Flush():
                message.left = len(self._intake.waiting)
                message.deadline = now + message.timeout_seconds
                if message.dropped is None:
                    message.dropped = self.dropped_count()
                self._untaken.append(message)
                self._take_at = now
                if outbox is not None:
                    outbox.backoff.hurry()
            case Errand():
                self._to_say.append(message.run)
            case Stop():
                self._stop = message
                self._take_at = now
                if outbox is not None:
                    outbox.overflow.searches = False
                    outbox.backoff.hurry()
            case None:
                return
            case _:
                self._settle(message, now)  # type: ignore[arg-type]

    def _settle(self, outcome: Outcome, now: float) -> None:
        outbox = self._outbox
        assert outbox is not None  # noqa: S101 - for the type checker
        before = outbox.rejected.total()
        outbox.settle(outcome, now)
        if outcome.message:
            refused = outbox.rejected.total() - before
            count = count_of(refused or outbox.outstanding)
            fate = f"{count} refused for good" if refused else f"{count} kept"
            cause = f"{type(outcome).__name__} {bool(refused)}"
            self.report(cause, f"{outbox.last_error}; {fate}")
        self._intake.leave_room(outbox.records, outbox.size_bytes)
        if self._stop is not None or self._flushes or self._untaken:
            outbox.backoff.hurry()

    def is_idle(self) -> bool:
        """Return whether there is nothing to do until the next message. From any thread."""
        left = self._outbox is not None and self._outbox.outstanding
        wishes = self._untaken or self._flushes or self._to_say or self._stop
        work = left or self._intake.unfinished()
        return self._take_at is None and not (wishes or work)

    def take_all(self) -> None:
        """Finish what is waiting. Under the lock; from any thread."""
        self._take(self.clock.monotonic(), close=False)

    def _take(self, now: float, *, close: bool, limit: int = sys.maxsize) -> None:
        """Finish what was waiting when this began, in slices, and enforce bounds."""
        count = min(len(self._intake.waiting), limit)
        while count > 0:
            taken = self._intake.take(min(SLICE_RECORDS, count))
            if not taken:
                break
            count -= len(taken)
            for flush in self._untaken:
                flush.left -= len(taken)
            self._process(taken, now)
            self._make_room()
            if len(self._intake.waiting) < BEHIND_RECORDS or count <= 0:
                self._breathe()
            if self._stop and self.clock.monotonic() >= self._ends_at(self._stop):
                break
        self._intake.taken = []
        if self._outbox is not None:
            if self._stop is not None:
                self._outbox.release(now)
            elif close or self._outbox.overflow.spool is not None:
                self._outbox.close_batch(now)

    def _breathe(self) -> float:
        """Let others run, and whoever waits for the lock; return the time after."""
        self.lock.release()
        try:
            time.sleep(0)
        finally:
            self.lock.acquire()
        return self.clock.monotonic()

    def _make_room(self) -> None:
        outbox, intake = self._outbox, self._intake
        if outbox is None:
            return
        outbox.make_room(
            # Room for what comes before the next turn; else the newest went first.
            intake.max_records - max(len(intake.waiting), intake.reserve_records),
            intake.max_bytes - max(intake.waiting_bytes, intake.reserve_bytes),
        )
        intake.leave_room(outbox.records, outbox.size_bytes)
        dropped = self.dropped_count() - outbox.overflow.lost_records
        if dropped > self._told_dropped:
            self._told_dropped = dropped
            self.report(
                "buffer_full",
                f"the buffer is full: {count_of(dropped)} dropped so far "
                f"({outbox.last_error or 'the receiver is slow'})",
            )

    def dropped_count(self) -> int:
        """Return how many records were given up so far. From any thread."""
        outbox = self._outbox.dropped_count() if self._outbox is not None else 0
        return outbox + self._intake.dropped.value

    def _mark_flushes(self, now: float) -> None:
        for flush in self._untaken.copy():
            late = now >= flush.deadline
            if late or flush.left <= 0 or not self._intake.waiting:
                self._untaken.remove(flush)
                if self._outbox is not None:
                    self._outbox.release(now)
                    flush.entered = self._outbox.entered
                self._flushes.append(flush)

    def _answer_flushes(self, now: float) -> None:
        outbox = self._outbox
        settled = outbox.entered - outbox.outstanding if outbox is not None else 0
        for flush in self._flushes.copy():
            whole = flush.entered <= settled
            if whole or now >= flush.deadline:
                self._flushes.remove(flush)
                nothing_lost = self.dropped_count() == flush.dropped
                self._to_say.append(partial(flush.done, whole and nothing_lost))

    def _maybe_stop(self, now: float) -> None:
        if self._stop is None:
            return
        left = len(self._intake.waiting)
        left += self._outbox.outstanding if self._outbox is not None else 0
        if left and now < self._ends_at(self._stop):
            return
        if self._outbox is not None:
            dropped = self.dropped_count()
            self.abandoned = self._intake.exportable()
            lost = self._outbox.give_up("closed", now) + self.abandoned
            if lost or self._outbox.spooled:
                cause = self._outbox.last_error or "no answer in time"
                text = farewell(lost, self._outbox.spooled, dropped, cause)
                self.report("closed", text)
        unanswered = [*self._flushes, *self._untaken]
        self._to_say += [partial(flush.done, left == 0) for flush in unanswered]
        self._flushes.clear()
        self._untaken.clear()
        self._stop_done = True

    def _ends_at(self, stop: Stop) -> float:
        """Return until when records are taken: longer if the disk can have them."""
        spools = self._outbox is not None and self._outbox.overflow.spool is not None
        return stop.deadline + (SPOOL_SECONDS if spools and self._intake.waiting else 0)

    def _wait_seconds(self, now: float) -> float:
        """Return how long nothing is due; park if that is until a record comes."""
        if self._intake.waiting and self._take_at is None:
            self._take_at = now + self._intake.delay_seconds(self._delay_seconds)
        # A signal handler that raises may cost a log call its wake-up.
        due = [LONGEST_WAIT_SECONDS]
        if self._take_at is not None:
            due.append(max(self._take_at - now, 0.0))
        if self._outbox is not None:
            wait = self._outbox.wait_seconds(now)
            due += [] if wait is None else [wait]
            due.append(max(self._outbox.overflow.look_at() - now, 0.0))
        if self._stop is not None:
            due.append(max(self._stop.deadline - now, 0.0))
        if self._take_at is None:
            self._intake.parked = True
            # A record may have come before the flag was up, and told nobody.
            if self._intake.waiting:
                self._intake.parked = False
                self._take_at = now + self._intake.delay_seconds(self._delay_seconds)
                due.append(self._take_at - now)
        return min(due)

    def report(self, cause: str, text: str) -> None:
        """Have the application's log told, at most once per cause and interval."""
        self._reports.append((cause, text))

    def _say(self, cause: str, text: str) -> None:
        now = self.clock.monotonic()
        last = self._reported.get(cause)
        if last is None or now - last >= REPORT_SECONDS:
            self._reported[cause] = now
            _log.warning("%s", text)
