"""Waiting for the worker, also in a signal handler, whatever that interrupted.

The code that a signal interrupts may hold a lock, which nobody else gets until the
handler returns. So what the worker needs is lent to it while the handler waits, and
what is waited for has no lock of its own that the interrupted code could hold.
"""

from __future__ import annotations

import contextlib
import logging
import threading
from typing import TYPE_CHECKING, Final, Protocol

if TYPE_CHECKING:
    from collections.abc import Generator

__all__ = ["Latch", "lent"]

LONGEST_SECONDS: Final = 1e8


class Lock(Protocol):
    """A lock that a thread can have several times, and that knows whose it is."""

    def acquire(self) -> bool:
        """Take it."""
        ...

    def release(self) -> None:
        """Give it back once; a RuntimeError if it is not this thread's."""
        ...


class Latch:
    """Is set once, and waited for by any thread and by a handler on top of it.

    Not ``threading.Event``: that is guarded by a lock, and who is interrupted while it
    begins to wait holds it.
    """

    def __init__(self) -> None:
        self._is_set = False
        self._gate = threading.Lock()
        self._gate.acquire()

    def is_set(self) -> bool:
        """Return whether it is set."""
        return self._is_set

    def set(self) -> None:
        """Set it. Once; from any thread."""
        self._is_set = True
        with contextlib.suppress(RuntimeError):  # it is open
            self._gate.release()

    def wait(self, timeout_seconds: float) -> bool:
        """Wait until it is set; return whether it is."""
        timeout = min(max(timeout_seconds, 0.0), LONGEST_SECONDS)
        if not self._is_set and self._gate.acquire(timeout=timeout):
            self._gate.release()  # the next one, below this handler
        return self._is_set


@contextlib.contextmanager
def lent(*locks: Lock) -> Generator[None]:
    """Let others have locks, as far as they are this thread's, and take them back.

    ``logging``'s own is among them. The HTTP client's loggers ask for it when they are
    first used, and an end may come in the middle of ``removeHandler`` or ``getLogger``.
    """
    taken = [(lock, _release(lock)) for lock in (*locks, *_LOGGING)]
    try:
        yield
    finally:
        for lock, times in reversed(taken):
            for _ in range(times):
                lock.acquire()


def _release(lock: Lock) -> int:
    times = 0
    with contextlib.suppress(RuntimeError):
        while True:
            lock.release()
            times += 1
    return times


# There is no public name for it; it has had this one since Python 2.3. Another kind of
# lock, as a package that patches threads may put there, could be somebody else's.
_LOGGING: Final[list[Lock]] = [
    lock
    for lock in (getattr(logging, "_lock", None),)
    if isinstance(lock, type(threading.RLock()))
]
