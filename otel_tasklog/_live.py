"""Which asyncio tasks are alive, as far as can be told from outside of their loop.

asyncio names the live tasks of a loop to whoever has the loop, and tells nobody which
loops there are. So those that were seen to run are remembered, with the thread that
each ran in: a task that logged in a thread is over if the loop that runs there now
does not know it.
"""

from __future__ import annotations

import asyncio
from threading import get_ident
from typing import TYPE_CHECKING
from weakref import ref

from otel_tasklog.capture._tasks import known_cell

if TYPE_CHECKING:
    from collections.abc import Container, Iterable

__all__ = ["Live", "Loops"]


class Live:
    """Who was alive at one moment.

    Args:
        numbers: Of the live tasks that were found.
        threads: Those whose tasks were all found.
    """

    def __init__(self, numbers: Container[int], threads: Container[int]) -> None:
        self._numbers = numbers
        self._threads = threads

    def any_of(self, tasks: Iterable[tuple[int, int]]) -> bool | None:
        """Return whether one of some tasks is alive, or None if that is not known.

        Args:
            tasks: The number of each, and the ident of the thread that it logged in.
        """
        found = list(tasks)
        if any(number in self._numbers for number, _ in found):
            return True
        known = found and all(thread in self._threads for _, thread in found)
        return False if known else None


class Loops:
    """The event loops that were seen, and the threads that they ran in."""

    def __init__(self) -> None:
        self._loops: dict[int, ref[asyncio.AbstractEventLoop]] = {}
        self.notice()

    def notice(self) -> None:
        """Remember the loop that runs in this thread, if there is one."""
        try:
            self._loops[get_ident()] = ref(asyncio.get_running_loop())
        except RuntimeError:
            self._loops.pop(get_ident(), None)

    def forget(self) -> None:
        """Forget them in a forked child: they run in the parent."""
        self._loops.clear()

    def live(self) -> Live:
        """Return who is alive. From any thread."""
        self.notice()
        numbers: set[int] = set()
        threads = {get_ident()}
        for thread, link in self._loops.copy().items():
            loop = link()
            if loop is None or not loop.is_running():
                continue
            threads.add(thread)
            cells = map(known_cell, asyncio.all_tasks(loop))
            numbers.update(cell.number for cell in cells if cell is not None)
        return Live(numbers, threads)
