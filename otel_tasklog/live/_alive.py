"""Which of the asyncio tasks that logged are alive, and what each waits on.

Asked from outside of their loops: a task's number says nothing of where it is, so all
tasks of the loops that numbered any are looked at. A task is at a job until it is done;
but a worker that does one after the other, each in a scope of its own, is at those alone
whose scopes it is in.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog.capture._tasks import known_cell, seen_loops
from otel_tasklog.live._await_chain import name_of
from otel_tasklog.live._waits import all_tasks, wait_of

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Collection, Iterable
    from typing import Any

    from otel_tasklog.capture._tasks import TaskCell
    from otel_tasklog.live._waits import TaskWait

__all__ = ["Live", "is_at", "is_inside"]


class Live:
    """Who was alive when this was made. From any thread; hold it briefly.

    Args:
        wanted: The numbers of the tasks that may be asked for.
        clean: Makes of a task's name what its records have.
    """

    def __init__(self, wanted: Collection[int], clean: Callable[[str], str]) -> None:
        self._clean = clean
        self._tasks: dict[int, Task[Any]] = {}
        loops, self._complete = seen_loops()
        for loop in loops if wanted else ():
            found = () if loop.is_closed() else all_tasks(loop)
            if found is None:
                self._complete = False
                continue
            for task in found:
                cell = known_cell(task)
                if cell is not None and cell.number in wanted:
                    self._tasks[cell.number] = task

    def any_of(self, job: str, numbers: Collection[int]) -> bool | None:
        """Return whether one of some tasks is alive and at a job, None if not known."""
        if any(self._is_at(job, number) for number in numbers):
            return True
        return False if numbers and self._complete else None

    def wait_of(self, job: str, numbers: Iterable[int]) -> TaskWait | None:
        """Return what the first of some tasks that is at a job waits on, if any is."""
        at_it = next((each for each in numbers if self._is_at(job, each)), None)
        return None if at_it is None else wait_of(self._tasks[at_it], self._clean)

    def _is_at(self, job: str, number: int) -> bool:
        task = self._tasks.get(number)
        return task is not None and is_at(task, job, self._clean)


def is_at(task: Task[Any], job: str, clean: Callable[[str], str]) -> bool:
    """Return whether a task is at a job in which it logged, and has not left it.

    Args:
        task: The task.
        job: The job's id, as its records have it.
        clean: Makes of a task's name or a job's id what its records have.
    """
    cell = known_cell(task)
    if cell is None:
        return False
    if not cell.opens_scopes or job == clean(name_of(task)):
        return True
    return is_inside(cell, job, clean)


def is_inside(cell: TaskCell | None, job: str, clean: Callable[[str], str]) -> bool:
    """Return whether a task is in a scope that names a job, or in one inside it."""
    scope = cell.scope if cell is not None else None
    while scope is not None:
        if scope.task_id is not None and clean(scope.task_id) == job:
            return True
        scope = scope.outer
    return False
