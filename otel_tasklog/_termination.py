"""SIGTERM: what is there is delivered before it ends the process.

Python runs a handler on the main thread: between two instructions, or when the signal
interrupts a system call. A signal that comes between the last look for signals and the
call is seen when that returns, which may be never. Nobody hits that moment but those who
aim at it: ``multiprocessing.Pool`` terminates a child that has just handed over a result
and turns to wait for the next task, and waits for its end without a limit. The default
action has no such moment. So who puts a handler in its place has to see that it runs.
"""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from typing import TYPE_CHECKING, Final

from otel_tasklog._process import (
    at_begin,
    is_child,
    is_listed,
    park_before_fork,
    renew_after_fork,
    resume_after_fork,
    wait_while,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["TerminationGuard"]

AGAIN_SECONDS: Final = 0.05
"""A handler that has not begun for so long is asked for again."""

PARK_SECONDS: Final = 0.2
"""At most so long a fork waits until the thread has left."""

_LEAVE: Final = b"\0"
"""No signal has that number."""


class TerminationGuard:
    """Delivers before a SIGTERM that nobody handles ends the process.

    Never in the place of an application's own handler, set before or later.

    Args:
        deliver: Delivers what is there, within its time.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver
        self._prompter = Prompter(self._is_in_place)
        at_begin(self)

    def arm(self) -> bool:
        """Take the signal over if its action is the default one.

        Returns:
            False if it is left alone only because this is not the main thread, where
            alone Python allows it.
        """
        default = signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        on_main = _on_main_thread()
        if default and on_main:
            signal.signal(signal.SIGTERM, self._on_signal)
            if is_child():
                self.begin()
        return on_main or not default

    def begin(self) -> None:
        """See that the handler runs, in a child of ``multiprocessing``. Main thread."""
        if self._is_in_place():
            self._prompter.start()

    def _is_in_place(self) -> bool:
        return signal.getsignal(signal.SIGTERM) == self._on_signal

    def disarm(self) -> None:
        """Give the default action back if ours is still in place."""
        if _on_main_thread():
            if self._is_in_place():
                signal.signal(signal.SIGTERM, signal.SIG_DFL)
            self._prompter.stop()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._prompter.begun = True
        try:
            # A second signal meanwhile comes here too, and has what is left of the
            # time. Whatever goes wrong must not reach what the signal interrupted.
            with contextlib.suppress(Exception):
                self._deliver()
        finally:
            # The default action, so that the parent sees how the process ended. As
            # process 1 of a container it has no effect, and the program goes on.
            signal.signal(number, signal.SIG_DFL)
            os.kill(os.getpid(), number)
            signal.signal(number, self._on_signal)


class Prompter:
    """Sends SIGTERM again until its handler has begun.

    A thread is told of each signal by the wake-up descriptor, to which the interpreter
    writes at once, whatever the main thread does. If an event loop has that descriptor,
    it is left alone: such a loop is woken by it itself.

    Args:
        is_in_place: Whether the handler is there still. Any thread.
    """

    def __init__(self, is_in_place: Callable[[], bool]) -> None:
        self.begun = False
        self._is_in_place = is_in_place
        self._ends: tuple[int, int] | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Begin to listen. On the main thread."""
        if self._ends is not None or not hasattr(signal, "pthread_kill"):
            return  # Windows: there is no such signal
        ends = os.pipe()
        os.set_blocking(ends[1], False)
        before = signal.set_wakeup_fd(ends[1], warn_on_full_buffer=False)
        self._ends = ends
        if before != -1:
            signal.set_wakeup_fd(before)
            self._close()
            return
        park_before_fork(self)
        resume_after_fork(self)
        renew_after_fork(self)
        self.resume()

    def stop(self) -> None:
        """Listen no more. On the main thread."""
        if self._ends is not None:
            self.park()
            self._let_go()

    def park(self) -> None:
        """End the thread for now."""
        thread, self._thread = self._thread, None
        if self._ends is None or thread is None:
            return
        with contextlib.suppress(BlockingIOError):  # it has much to read
            os.write(self._ends[1], _LEAVE)
        wait_while(
            lambda: thread.is_alive() or is_listed(thread.native_id), PARK_SECONDS
        )

    def resume(self) -> None:
        """Start the thread again."""
        if self._ends is not None and self._thread is None:
            self._thread = threading.Thread(
                target=self._listen,
                args=(self._ends[0],),
                name="otel_tasklog signals",
                daemon=True,
            )
            self._thread.start()

    def renew(self) -> None:
        """Let go of the parent's descriptors, in a forked child."""
        self.begun = False
        self._thread = None
        if self._ends is not None:
            self._let_go()

    def _let_go(self) -> None:
        current = signal.set_wakeup_fd(-1)
        if self._ends is not None and current != self._ends[1]:
            signal.set_wakeup_fd(current)
        self._close()

    def _close(self) -> None:
        ends, self._ends = self._ends, None
        for end in ends or ():
            os.close(end)

    def _listen(self, read: int) -> None:
        came = b""
        with contextlib.suppress(OSError):  # closed, for this did not leave in time
            while signal.SIGTERM not in came:
                came = os.read(read, 64)
                if _LEAVE in came:
                    return
        time.sleep(AGAIN_SECONDS)
        main = threading.main_thread().ident
        while main is not None and not self.begun and self._is_in_place():
            signal.pthread_kill(main, signal.SIGTERM)
            time.sleep(AGAIN_SECONDS)


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
