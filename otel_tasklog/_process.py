"""What a process does to a TaskLog: it forks, is terminated, and ends.

The only place that touches signals, ``atexit`` and fork hooks. It knows callables,
not what they belong to.
"""

from __future__ import annotations

import os
import signal
import threading
from typing import TYPE_CHECKING, Protocol
from weakref import WeakSet

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

__all__ = ["TerminationGuard", "renew_after_fork"]


class Renewable(Protocol):
    """What must be made anew in a forked child."""

    def renew(self) -> None:
        """Start over: empty, without threads, without connections."""
        ...


_renewables: WeakSet[Renewable] = WeakSet()


def renew_after_fork(renewable: Renewable) -> None:
    """Have ``renew()`` called in each forked child, for as long as it lives."""
    _renewables.add(renewable)


def _renew() -> None:
    for renewable in list(_renewables):
        renewable.renew()


if hasattr(os, "register_at_fork"):  # not on Windows, which has no fork either
    # Once per process: a hook cannot be taken back. It holds nothing alive.
    os.register_at_fork(after_in_child=_renew)


class TerminationGuard:
    """Delivers before a SIGTERM that nobody handles ends the process.

    Never in the place of an application's own handler, set before or later.

    Args:
        deliver: Delivers what is there, within its time.
    """

    def __init__(self, deliver: Callable[[], object]) -> None:
        self._deliver = deliver

    def arm(self) -> None:
        """Take the signal over if its action is the default one.

        Python allows it on the main thread only; elsewhere it is left alone.
        """
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and signal.getsignal(signal.SIGTERM) is signal.SIG_DFL:
            signal.signal(signal.SIGTERM, self._on_signal)

    def disarm(self) -> None:
        """Give the default action back if ours is still in place."""
        on_main = threading.current_thread() is threading.main_thread()
        if on_main and signal.getsignal(signal.SIGTERM) == self._on_signal:
            signal.signal(signal.SIGTERM, signal.SIG_DFL)

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        self._deliver()
        # The default action, so that the parent sees how the process ended. As
        # process 1 of a container it has no effect, and the program goes on.
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)
        signal.signal(number, self._on_signal)
