"""What a process does to a TaskLog: it forks, and it ends.

The only place that touches ``atexit`` and the like; signals are in ``_termination.py``.
It knows callables, not what they belong to.
"""

from __future__ import annotations

import atexit
import contextlib
import functools
import os
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import ModuleType

__all__ = [
    "at_begin",
    "at_end",
    "is_child",
    "is_listed",
    "not_at_end",
    "park_before_fork",
    "renew_after_fork",
    "resume_after_fork",
    "wait_while",
]

PARK_STEP_SECONDS: Final = 0.0002
"""So often a fork looks whether idle threads have left."""

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


class Beginning(Protocol):
    """What has something to do when a child of ``multiprocessing`` begins."""

    def begin(self) -> None:
        """Do it, on the child's main thread."""
        ...


_parkables: WeakSet[Parkable] = WeakSet()
_resumables: WeakSet[Resumable] = WeakSet()
_renewables: WeakSet[Renewable] = WeakSet()
_beginnings: WeakSet[Beginning] = WeakSet()


def park_before_fork(parkable: Parkable) -> None:
    """Have ``park()`` called before each fork, for as long as it lives."""
    _parkables.add(parkable)


def resume_after_fork(resumable: Resumable) -> None:
    """Have ``resume()`` called after each fork, in the parent, while it lives."""
    _resumables.add(resumable)


def renew_after_fork(renewable: Renewable) -> None:
    """Have ``renew()`` called in each forked child, for as long as it lives."""
    _renewables.add(renewable)


def at_begin(beginning: Beginning) -> None:
    """Have ``begin()`` called in each forked child of ``multiprocessing``."""
    _beginnings.add(beginning)


def is_listed(native_id: int | None) -> bool:
    """Return whether Linux has a thread in its list, which it leaves last.

    Python looks at that list before it warns of a fork beside threads.
    """
    return Path(f"/proc/self/task/{native_id}").exists()


def wait_while(condition: Callable[[], bool], seconds: float) -> None:
    """Wait for others as a parkable may: with no lock, and for so long at most."""
    deadline = time.monotonic() + seconds
    while condition() and time.monotonic() < deadline:
        time.sleep(PARK_STEP_SECONDS)


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
    if is_child():
        _expect_end(sys.modules["multiprocessing.util"])


def is_child() -> bool:
    """Return whether this is a child of ``multiprocessing``."""
    # Who has such children, or is one, has imported it. Others are spared the time
    # that it takes.
    package = sys.modules.get("multiprocessing")
    find_parent = getattr(package, "parent_process", lambda: None)
    return find_parent() is not None


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
        for beginning in list(_beginnings):
            beginning.begin()

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
