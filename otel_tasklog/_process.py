"""What a process does to a TaskLog: it forks, is terminated, and ends.

The only place that touches signals, ``atexit`` and the like. It knows callables, not
what they belong to.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import signal
import sys
import threading
import time
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType, ModuleType

__all__ = [
    "TerminationGuard",
    "at_end",
    "not_at_end",
    "park_before_fork",
    "renew_after_fork",
    "resume_after_fork",
]

LOOK_SECONDS: Final = 0.02
"""So often the end of a child looks whether its other threads have ended."""


class Parkable(Protocol):
    """What has threads that can end for now."""

    def park(self) -> None:
        """End them, if they have nothing to do. Must take no lock, and wait briefly."""
        ...


class Resumable(Protocol):
    """What goes on in a process that has forked."""

    def resume(self) -> None:
        """Begin again what was ended before the fork."""
        ...


class Renewable(Protocol):
    """What must be made anew in a forked child."""

    def renew(self) -> None:
        """Start over: empty, without threads, without connections."""
        ...


_parkables: WeakSet[Parkable] = WeakSet()
_resumables: WeakSet[Resumable] = WeakSet()
_renewables: WeakSet[Renewable] = WeakSet()


def park_before_fork(parkable: Parkable) -> None:
    """Have ``park()`` called before each fork, for as long as it lives."""
    _parkables.add(parkable)


def resume_after_fork(resumable: Resumable) -> None:
    """Have ``resume()`` called after each fork, in the parent, while it lives."""
    _resumables.add(resumable)


def renew_after_fork(renewable: Renewable) -> None:
    """Have ``renew()`` called in each forked child, for as long as it lives."""
    _renewables.add(renewable)


def _before_fork() -> None:
    util = sys.modules.get("multiprocessing.util")
    if hasattr(util, "Finalize"):  # it is imported, and completely
        _expect_children(util)
    for parkable in list(_parkables):
        parkable.park()


def _resume() -> None:
    for resumable in list(_resumables):
        resumable.resume()


def _renew() -> None:
    for renewable in list(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    # Once per process: a hook cannot be taken back. It holds nothing alive.
    os.register_at_fork(
        before=_before_fork, after_in_parent=_resume, after_in_child=_renew
    )


_closers: Final[list[Callable[[], object]]] = []


def at_end(close: Callable[[], object]) -> None:
    """Have it called when the program ends, also if that is a child process.

    Args:
        close: May be called more than once.
    """
    atexit.register(close)
    _closers.append(close)
    # Who has children of multiprocessing, or is one, has imported it. Others are
    # spared the time that it takes.
    package = sys.modules.get("multiprocessing")
    find_parent = getattr(package, "parent_process", lambda: None)
    if find_parent() is not None:
        _expect_end(sys.modules["multiprocessing.util"])


def not_at_end(close: Callable[[], object]) -> None:
    """Undo `at_end`."""
    atexit.unregister(close)
    with contextlib.suppress(ValueError):
        _closers.remove(close)


@functools.cache  # once per process, and its children inherit it
def _expect_children(util: ModuleType) -> None:
    """Have ``multiprocessing`` tell of each child that starts, forked from here.

    Not a hook of the fork itself: the child forgets what its parent wanted done at
    the end after those, and before this.
    """

    def expect(_: object) -> None:
        _expect_end(util)

    util.register_after_fork(_close_all, expect)


def _expect_end(util: ModuleType) -> None:
    """Have a child of ``multiprocessing`` close at its end, late among others.

    Its end is not the interpreter's: ``atexit`` may not be heard.
    """
    util.Finalize(None, _end_child, exitpriority=-100)


def _end_child() -> None:
    if _others_run():
        # Up to Python 3.12 their end is waited for after this, and until then they
        # log. So it is waited for here too, in a thread that is itself waited for.
        threading.Thread(target=_close_behind_others).start()
    else:
        _close_all()


def _close_behind_others() -> None:
    while _others_run():
        time.sleep(LOOK_SECONDS)
    _close_all()


def _others_run() -> bool:
    """Return whether there are threads but the main one that a program waits for."""
    known = {threading.main_thread(), threading.current_thread()}
    return any(not x.daemon and x not in known for x in threading.enumerate())


def _close_all() -> None:
    for close in _closers.copy():
        close()


class TerminationGuard:
    """Delivers before a SIGTERM that nobody handles ends the process.

    Never in the place of an application's own handler, set before or later.

    Args:
        deliver: Delivers what is there, within its time.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver

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
        return on_main or not default

    def disarm(self) -> None:
        """Give the default action back if ours is still in place."""
        if _on_main_thread() and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
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


def _on_main_thread() -> bool:
    return threading.current_thread() is threading.main_thread()
