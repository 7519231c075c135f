"""A task that holds up its event loop has it said in its own log.

One thread looks at all loops, see ``_pulse.py``. Nothing is added to the work of a task,
and a loop that rests is not woken. The thread is there as long as there is a loop. It is
started by ``_thread.start_new_thread``, for a log call may be what makes a loop known
(``threading.Thread.start`` takes locks), and leaves before a fork, as idle threads of
ours do: Python warns of a fork in a process with threads.
"""

from __future__ import annotations

import _thread
import contextlib
import logging
import threading
import time
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final

from otel_tasklog._process import (
    is_listed,
    park_before_fork,
    resume_after_fork,
    wait_while,
)
from otel_tasklog._text import visible
from otel_tasklog.capture._stamp import STAMP
from otel_tasklog.live._pulse import Pulse

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from otel_tasklog.live._pulse import Blocked

__all__ = ["WATCHDOG_LOGGER", "Watchdog"]

WATCHDOG_LOGGER: Final = "otel_tasklog.watchdog"

SHORTEST_SECONDS: Final = 0.005
"""The thread rests for so long, however little a loop may be blocked for."""

LONGEST_SECONDS: Final = 0.25
"""So soon the end of a block is seen, however long it may be."""

PARK_SECONDS: Final = 0.05
"""At most so long a fork, or the end, waits until the thread has left."""


class _Thread:
    """One life of the thread.

    Attributes:
        inbox: Anything in it has the thread leave.
        ident: Its identifier, once it runs, and the system's.
        ended: Whether it is about to be gone.
    """

    def __init__(self) -> None:
        self.inbox: SimpleQueue[None] = SimpleQueue()
        self.ident: tuple[int, int] | None = None
        self.ended = False

    def is_there(self) -> bool:
        if self.ident is None:
            return not self.ended
        return not self.ended or is_listed(self.ident[1])


class Watchdog:
    """Says which code blocks an event loop.

    Args:
        handler: Captures the record, if ``logging`` itself is what blocks.
        limit_seconds: What blocks a loop for so long is said.
        on_lag: Is told how long a callback had to wait, for each look.
    """

    def __init__(
        self,
        handler: logging.Handler,
        limit_seconds: float,
        on_lag: Callable[[float], None],
    ) -> None:
        self._handler = handler
        self._limit = limit_seconds
        self._on_lag = on_lag
        self._pulses: list[Pulse] = []
        self._thread: _Thread | None = None
        self._closed = False
        park_before_fork(self)
        resume_after_fork(self)

    def watch(self, loop: AbstractEventLoop) -> None:
        """Look after an event loop from now on. From any thread; takes no lock."""
        self._pulses.append(
            Pulse(loop, self._limit, on_blocked=self._try_to_say, on_lag=self._on_lag)
        )
        self._start()

    def lag_seconds(self) -> float | None:
        """Return for how long a callback had to wait lately, at worst.

        None if there is no loop. From any thread.
        """
        now = time.monotonic()
        return max(
            (each.lag_seconds(now) for each in self._pulses.copy()), default=None
        )

    def close(self) -> None:
        """Look after nothing any more. Waits for the thread, briefly.

        A block whose end it had no time to see is said.
        """
        self._closed = True
        if self._leave():  # else it may look just now
            for pulse in self._pulses.copy():
                pulse.end(time.monotonic())
        self._pulses.clear()

    def park(self) -> None:
        """Have the thread leave for now, and wait briefly. Takes no lock."""
        self._leave()

    def _leave(self) -> bool:
        """Do so; return whether it has left."""
        thread = self._thread
        if thread is None:
            return True
        if thread.ident and thread.ident[0] == _thread.get_ident():
            return False
        self._thread = None
        thread.inbox.put(None)
        wait_while(thread.is_there, PARK_SECONDS)
        return not thread.is_there()

    def resume(self) -> None:
        """Go on after a fork, in the parent."""
        if self._pulses:
            self._start()

    def renew(self) -> None:
        """Start over in a forked child, which has neither the thread nor the loops."""
        self._pulses = []
        self._thread = None

    def _start(self) -> None:
        # The look and the claim are one unit for the interpreter, which changes
        # threads, and runs signal handlers, at the end of calls.
        thread = _Thread()
        if self._thread is None and not self._closed:
            self._thread = thread
            try:
                _thread.start_new_thread(self._run, (thread,))
            except RuntimeError:  # there is none to be had; the next loop tries again
                self._thread = None

    def _run(self, thread: _Thread) -> None:
        thread.ident = _thread.get_ident(), _thread.get_native_id()
        threading.current_thread().name = "otel_tasklog watchdog"
        wait, due, used = 0.0, time.monotonic(), time.process_time()
        try:
            while self._thread is thread:
                now = time.monotonic()
                self._leave_out(now - due, time.process_time() - used, wait)
                wait, used = self._look(now), time.process_time()
                if not self._pulses:
                    self._thread = None
                    if self._pulses:  # one came at that moment
                        self._start()
                    return
                due = time.monotonic() + wait
                with contextlib.suppress(Empty):
                    thread.inbox.get(timeout=wait)
        finally:
            thread.ended = True

    def _leave_out(self, late: float, used: float, waited: float) -> None:
        """Leave out a time in which the whole process was stopped, or did not get to run.

        Args:
            late: By how many seconds this thread is.
            used: How much of the processor the process used since it was last awake.
            waited: How long it wanted to wait.
        """
        if late > waited and used < late / 2:
            for pulse in self._pulses.copy():
                pulse.skip(late)

    def _look(self, now: float) -> float:
        """Look at each loop; return after how many seconds to do so again."""
        waits = [LONGEST_SECONDS]
        for pulse in self._pulses.copy():
            wait = None
            # A loop is anybody's code, and must not end the thread.
            with contextlib.suppress(Exception):
                wait = pulse.beat(now)
            if wait is not None:
                waits.append(wait)
            else:
                with contextlib.suppress(ValueError):  # `close` was quicker
                    self._pulses.remove(pulse)
        return max(min(waits), SHORTEST_SECONDS)

    def _try_to_say(self, blocked: Blocked) -> None:
        with contextlib.suppress(Exception):  # a filter's or a handler's
            self._say(blocked)

    def _say(self, blocked: Blocked) -> None:
        culprit, logger = blocked.culprit, logging.getLogger(WATCHDOG_LOGGER)
        if not logger.isEnabledFor(logging.WARNING):
            return
        stamp = culprit.stamp
        who = visible(stamp.task_id or stamp.name or "")
        path, line, function = culprit.place
        event, said = "blocked", "blocked the event loop for {:.3f} s"
        if not blocked.over:
            event, said = "blocking", "has blocked the event loop for {:.3f} s so far"
        record = logger.makeRecord(
            WATCHDOG_LOGGER,
            logging.WARNING,
            path,
            line,
            f"{f'task {who}' if who else 'a callback'} {said.format(blocked.seconds)}, "
            f"in {function} ({path}:{line})",
            (),
            None,
            function,
            {
                "event.name": f"event_loop.{event}",
                "duration_seconds": blocked.seconds,
                STAMP: stamp,
            },
            culprit.stack(),
        )
        record.thread, record.threadName = culprit.thread, culprit.thread_name
        # A log call that blocks may hold the lock of a handler, which this thread would
        # wait for: no handler but ours does without.
        say = self._handler if culprit.logs and not blocked.over else logger
        say.handle(record)
