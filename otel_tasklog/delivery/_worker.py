"""The worker: takes, batches, sends, retries, flushes, and ends in time.

Two threads. The *worker* never waits for a peer: `Worker.turn` does what is due
and says how long nothing will be. The *sender* blocks in one request at a time and
posts what came of it to the worker's inbox. So a receiver that hangs delays neither
the finishing of records, nor the bounds, nor the end of the process.

Both are started at the first record, by ``_thread.start_new_thread``: a log call
may come from a signal handler, and ``threading.Thread.start`` takes locks that the
interrupted code may hold. They are daemon threads, of which ``atexit`` (see
`TaskLog`) asks for an orderly end.
"""

from __future__ import annotations

import _thread
import logging
import threading
import time
from functools import partial
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol

from otel_tasklog.delivery._buffer import Wake
from otel_tasklog.delivery._senders import Outcome, Retry

if TYPE_CHECKING:
    from collections.abc import Callable

    from otel_tasklog.capture._record import Captured
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._outbox import Batch, Outbox
    from otel_tasklog.delivery._senders import Sender

__all__ = ["Clock", "Flush", "MonotonicClock", "Worker"]

SLICE_RECORDS: Final = 64
"""So many records are finished before the event loop's thread gets its turn."""

REPORT_SECONDS: Final = 30.0
"""At most one line for each cause in this time."""

_log = logging.getLogger("otel_tasklog")


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
        self.before = 0  # all batches numbered lower
        self.dropped = 0  # how many records had been given up before


class _Stop:
    def __init__(self, deadline: float) -> None:
        self.deadline = deadline


class Worker:
    """Runs the path of a record after the call.

    Args:
        intake: Where records come from.
        process: Finishes a slice of records: resolves, keeps, adds to the outbox.
        outbox: What is to be sent; None if nothing is exported.
        sender: Sends it.
        delay_seconds: How long a record may wait for others.
        limits: Records and bytes that intake and outbox hold together.
        clock: For tests; the machine's by default.
    """

    def __init__(
        self,
        *,
        intake: Intake,
        process: Callable[[list[Captured], float], None],
        outbox: Outbox | None,
        sender: Sender | None,
        delay_seconds: float,
        limits: tuple[int, int],
        clock: Clock | None = None,
    ) -> None:
        self._intake = intake
        self._process = process
        self._outbox = outbox
        self._sender = sender
        self._delay_seconds = delay_seconds
        self._max_records, self._max_bytes = limits
        self._clock = clock or MonotonicClock()
        self._take_at: float | None = None
        self._flushes: list[Flush] = []
        self._stop: _Stop | None = None
        self._started = False
        self._to_send: SimpleQueue[Batch | None] = SimpleQueue()
        self._stop_done = False
        self._reported: dict[str, float] = {}
        self._to_say: list[Callable[[], None]] = []
        self.own_threads: set[int] = set()
        self.stopped = threading.Event()
        # Held while records change places, so that whoever counts them holds it
        # too. A log call never does. Re-entrant, for signal handlers may count.
        self.lock = threading.RLock()

    # -- life of the threads ---------------------------------------------------

    def start(self) -> None:
        """Start the threads if they are not there. From a log call; no lock."""
        if self._started:
            return
        self._started = True
        try:
            if self._sender is not None:
                _thread.start_new_thread(self._send, ())
            _thread.start_new_thread(self._run, ())
        except RuntimeError:
            # No thread to be had, at the interpreter's end for example. The next
            # record tries again, and `stop` does the work itself.
            self._started = False
            self._intake.parked = True

    def _run(self) -> None:
        self._adopt("otel_tasklog worker")
        try:
            wait: float | None = 0.0
            while not self.stopped.is_set():
                try:
                    wait = self.turn(self._receive(wait))
                except Exception:  # noqa: BLE001 - it must not end
                    _log.exception("the delivery worker failed, and goes on")
                    wait = 1.0
        finally:
            self.own_threads.discard(_thread.get_ident())

    def _send(self) -> None:
        self._adopt("otel_tasklog sender")
        try:
            while (batch := self._to_send.get()) is not None:
                self._intake.inbox.put(self._answer(batch))
        finally:
            self.own_threads.discard(_thread.get_ident())

    def _adopt(self, name: str) -> None:
        threading.current_thread().name = name
        self.own_threads.add(_thread.get_ident())

    def _answer(self, batch: Batch) -> Outcome:
        assert self._sender is not None  # noqa: S101 - for the type checker
        try:
            return self._sender.send(batch.body)
        except Exception as error:  # noqa: BLE001 - a sender is anybody's code
            return Retry(f"{type(self._sender).__name__}.send raised {error!r}")

    def _receive(self, wait: float | None) -> object:
        try:
            if wait is not None and wait <= 0:
                return self._intake.inbox.get_nowait()
            return self._intake.inbox.get(timeout=wait)
        except Empty:
            return None

    def stop(self, timeout_seconds: float) -> None:
        """Deliver what is there within the time, count the rest, end the threads.

        Returns when that is done. It is done in this thread if no thread of ours
        can be started any more, as at the end of the interpreter.
        """
        deadline = self._clock.monotonic() + timeout_seconds
        message = _Stop(deadline)
        self.start()
        if self._started:
            self._intake.inbox.put(message)
            # The worker keeps the deadline itself; a moment for its last turn.
            self.stopped.wait(timeout_seconds + 1.0)
        else:
            self._finish_here(message)

    def _finish_here(self, message: _Stop) -> None:
        ident = _thread.get_ident()
        self.own_threads.add(ident)
        try:
            wait = self.turn(message)
            while not self.stopped.is_set():
                batch = self._outbox.in_flight if self._outbox is not None else None
                if batch is not None:
                    wait = self.turn(self._answer(batch))
                else:
                    time.sleep(wait or 0.0)
                    wait = self.turn(None)
        finally:
            self.own_threads.discard(ident)

    # -- the work --------------------------------------------------------------

    def turn(self, message: object) -> float | None:
        """Do what is due; return for how many seconds nothing will be.

        Args:
            message: What the inbox had, or None when the time was up.

        Returns:
            Seconds, or None: until something comes.
        """
        now = self._clock.monotonic()
        with self.lock:
            self._note(message, now)
            if self._take_at is not None and now >= self._take_at:
                self._take_at = None
                self._take(now, close=message is not Wake.MANY)
            batch = self._outbox.next_batch(now) if self._outbox is not None else None
            self._answer_flushes()
            self._maybe_stop(now)
            wait = self._wait_seconds(now)
        if batch is not None:
            self._to_send.put(batch)
        self._tell()
        return wait

    def _tell(self) -> None:
        """Say what there is to say, without the lock: the listeners may want it."""
        said, self._to_say = self._to_say, []
        for say in said:
            say()
        if self._stop_done:
            self._to_send.put(None)
            self.stopped.set()

    def _note(self, message: object, now: float) -> None:
        outbox = self._outbox
        match message:
            case Wake.FIRST:
                due = now + self._delay_seconds
                self._take_at = due if self._take_at is None else self._take_at
            case Wake.MANY:
                self._take_at = now
            case Flush():
                self._take(now, close=True)
                if outbox is not None:
                    message.before = outbox.next_number
                    message.dropped = self._dropped()
                    outbox.hurry()
                self._flushes.append(message)
            case _Stop():
                self._stop = message
                self._take(now, close=True)
                if outbox is not None:
                    outbox.hurry()
            case None:
                return
            case _:
                self._settle(message, now)  # type: ignore[arg-type]

    def _settle(self, outcome: Outcome, now: float) -> None:
        assert self._outbox is not None  # noqa: S101 - for the type checker
        before = self._outbox.rejected.total()
        self._outbox.settle(outcome, now)
        if outcome.message:
            refused = self._outbox.rejected.total() - before
            lost = f"; {refused} records refused for good" if refused else ""
            kept = f"; {self._outbox.records} records kept" if not refused else ""
            self._report(type(outcome).__name__, f"{outcome.message}{lost}{kept}")
        if self._stop is not None:
            self._outbox.hurry()

    def take_all(self) -> None:
        """Finish what is waiting. Under the lock; from any thread."""
        self._take(self._clock.monotonic(), close=False)

    def _take(self, now: float, *, close: bool) -> None:
        """Finish what was waiting when this began, in slices, and enforce bounds."""
        count = len(self._intake.waiting)
        while count > 0:
            taken = self._intake.take(min(SLICE_RECORDS, count))
            if not taken:
                break
            count -= len(taken)
            self._process(taken, now)
            self._make_room()
            self._breathe()
        self._intake.taken = []
        if self._outbox is not None and close:
            self._outbox.close_batch()

    def _breathe(self) -> None:
        """Let the application's thread run, and whoever waits for the lock."""
        self.lock.release()
        try:
            time.sleep(0)
        finally:
            self.lock.acquire()

    def _make_room(self) -> None:
        outbox, intake = self._outbox, self._intake
        if outbox is None:
            return
        before = outbox.dropped.total()
        outbox.make_room(
            self._max_records - len(intake.waiting),
            self._max_bytes - intake.waiting_bytes,
        )
        intake.room_records = max(self._max_records - outbox.records, 1)
        intake.room_bytes = max(self._max_bytes - outbox.size_bytes, 1)
        if outbox.dropped.total() > before:
            self._report(
                "buffer_full",
                f"the buffer is full: {self._dropped()} records dropped so far, "
                f"oldest first ({outbox.last_error or 'the receiver is slow'})",
            )

    def _dropped(self) -> int:
        outbox = self._outbox.dropped.total() if self._outbox is not None else 0
        return outbox + self._intake.dropped.value

    def _answer_flushes(self) -> None:
        oldest = self._outbox.oldest_number if self._outbox is not None else 0
        for flush in self._flushes.copy():
            if flush.before <= oldest:
                self._flushes.remove(flush)
                nothing_lost = self._dropped() == flush.dropped
                self._to_say.append(partial(flush.done, nothing_lost))

    def _maybe_stop(self, now: float) -> None:
        if self._stop is None:
            return
        left = len(self._intake.waiting)
        left += self._outbox.records if self._outbox is not None else 0
        if left and now < self._stop.deadline:
            return
        if self._outbox is not None:
            lost = self._outbox.give_up("closed")
            if lost:
                cause = self._outbox.last_error or "no answer in time"
                self._report("closed", f"closed with {lost} records lost: {cause}")
        self._to_say += [partial(flush.done, left == 0) for flush in self._flushes]
        self._flushes.clear()
        self._stop_done = True

    def _wait_seconds(self, now: float) -> float | None:
        """Return how long nothing is due; park if that is until a record comes."""
        if self._intake.waiting and self._take_at is None:
            self._take_at = now + self._delay_seconds
        due = [] if self._take_at is None else [max(self._take_at - now, 0.0)]
        if self._outbox is not None:
            wait = self._outbox.wait_seconds(now)
            due += [] if wait is None else [wait]
        if self._stop is not None:
            due.append(max(self._stop.deadline - now, 0.0))
        if self._take_at is None:
            self._intake.parked = True
            # A record may have come before the flag was up, and told nobody.
            if self._intake.waiting:
                self._intake.parked = False
                self._take_at = now + self._delay_seconds
                due.append(self._delay_seconds)
        return min(due) if due else None

    def _report(self, cause: str, text: str) -> None:
        """Tell the application's log, at most once per cause and interval."""
        now = self._clock.monotonic()
        last = self._reported.get(cause)
        if last is None or now - last >= REPORT_SECONDS:
            self._reported[cause] = now
            self._to_say.append(partial(_log.warning, "%s", text))
