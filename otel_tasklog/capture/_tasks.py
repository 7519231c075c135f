"""Who is logging: the job that a scope names, and the running asyncio task.

Two identities, both inherited through ``contextvars`` and neither of them in
need of a task factory:

* A *scope* (`task` and `bind`, in ``_scopes.py``) names the job, a string of the application's own,
  and the attributes that each of its records carries.
* A *cell* numbers one asyncio task. ``id(task)`` is reused within microseconds
  of a task's end, so a number is drawn when a task first logs or opens a scope
  and stays on the task object. Its parent is the nearest ancestor that had a
  number when the task was created, which the copied context still tells.
"""

from __future__ import annotations

import itertools
import uuid

# Exported by asyncio for event-loop implementers. Unlike get_running_loop() it
# does not raise outside a loop, where an exception would cost each log call
# more than all of its other work.
from asyncio import (
    Task,
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    current_task,
)
from contextvars import ContextVar
from time import time_ns
from typing import TYPE_CHECKING, Any, Final
from weakref import WeakKeyDictionary, ref

from otel_tasklog.capture._plain import text_of
from otel_tasklog.capture._sizes import length

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable

    from otel_tasklog.capture._values import Value

__all__ = [
    "Scope",
    "TaskCell",
    "as_task_id",
    "current_scope",
    "current_task_id",
    "forget_loops",
    "known_cell",
    "new_task_id",
    "note_loop",
    "number_task",
    "running_cell",
    "seen_loops",
    "told_of",
]


class TaskCell:
    """The number of one asyncio task, and the scope that it is in.

    Attributes:
        number: Unique in this process and never reused.
        parent: The number of the nearest ancestor that had one, or None.
        scope: The innermost that names a job. Others may look at it, from outside of
            the task's context.
        opens_scopes: Whether it has entered one itself: if so, a job that it is not in
            any more is not its own any more.
        drawn_ns: When the number was drawn, since the epoch.
        numbers: Its own and its parent's, as its records have them.
    """

    __slots__ = ("drawn_ns", "number", "numbers", "opens_scopes", "parent", "scope")

    def __init__(
        self, number: int, parent: int | None, scope: Scope | None, drawn_ns: int
    ) -> None:
        self.numbers: Final[tuple[Any, ...]] = (number, parent)
        self.number: Final = number
        self.parent: Final = parent
        self.drawn_ns: Final = drawn_ns
        self.scope = scope
        self.opens_scopes = False


def _nobody() -> None:
    """Return nothing: what entered a scope of this one is not known."""


def told_of(
    task_id: str | None, parent_id: str | None, attributes: dict[str, Value]
) -> tuple[Any, ...]:
    """Return what a record has of a scope, as a tuple that has no object of it.

    That is the job's id and its parent's, what the attributes take, estimated, and
    each key with its value: of further tuples the collector would let go one by one,
    the inner ones first.
    """
    size_bytes = length(attributes) if attributes else 0
    return task_id, parent_id, size_bytes, *itertools.chain(*attributes.items())


class Scope:
    """What the innermost `task` and `bind` say. Shared by records.

    Attributes:
        task_id: The job's id, or None if only attributes are bound.
        parent_id: The id of the enclosing job, or None.
        attributes: What each record of the scope carries.
        outer: The scope around it, of those that can still be left.
        owner: Returns what was entered, which restores *outer* when it is left, or
            None if that is gone.
        told: What its records have of it, see `told_of`.
    """

    __slots__ = ("attributes", "outer", "owner", "parent_id", "task_id", "told")

    def __init__(
        self,
        task_id: str | None,
        parent_id: str | None,
        attributes: dict[str, Value],
        *,
        outer: Scope | None = None,
        owner: Callable[[], object] = _nobody,
    ) -> None:
        self.task_id: Final = task_id
        self.parent_id: Final = parent_id
        self.attributes: Final = attributes
        self.told: Final = told_of(task_id, parent_id, attributes)
        self.outer = outer
        self.owner: Final = owner

    def shorten(self) -> None:
        """Forget the scopes around it if nobody can leave it any more.

        Of a loop that binds and never unbinds, they would become ever more.
        """
        while (
            self.owner() is None
            and self.outer is not None
            and self.outer.owner() is None
        ):
            self.outer = self.outer.outer


current_scope: Final[ContextVar[Scope | None]] = ContextVar(
    "otel_tasklog.scope", default=None
)
_nearest_cell: Final[ContextVar[TaskCell | None]] = ContextVar(
    "otel_tasklog.cell", default=None
)
_numbers = itertools.count(1)
# For Task classes that refuse a new attribute; asyncio's own and uvloop's take it.
_refusing: Final[WeakKeyDictionary[Task[Any], TaskCell]] = WeakKeyDictionary()


class _Loops:
    """The loops that numbered tasks run in: asyncio tells nobody which there are.

    Attributes:
        complete: False if there was one that cannot be referred to weakly.
    """

    def __init__(self) -> None:
        self._links: set[ref[AbstractEventLoop]] = set()
        self.complete = True

    def note(self, loop: AbstractEventLoop) -> None:
        try:
            link = ref(loop)
            if link not in self._links:
                dead = [each for each in self._links.copy() if each() is None]
                self._links.difference_update(dead)
                self._links.add(link)
        except TypeError:
            self.complete = False

    def forget(self) -> None:
        self._links.clear()
        self.complete = True

    def all(self) -> list[AbstractEventLoop]:
        loops = [link() for link in self._links.copy()]
        return [loop for loop in loops if loop is not None]


_loops: Final = _Loops()


def known_cell(task: Task[Any]) -> TaskCell | None:
    """Return *task*'s cell if it has logged or opened a scope. From any thread."""
    found = getattr(task, "otel_tasklog_cell", None)
    if isinstance(found, TaskCell):
        return found
    return None if type(task) is Task else _refusing.get(task)


def number_task(task: Task[Any]) -> TaskCell:
    """Return the cell of *task*, which must be the running one; draw it if new."""
    nearest = _nearest_cell.get()
    cell = known_cell(task)
    if cell is not None:
        if cell is not nearest:  # it was numbered from outside of its context
            _nearest_cell.set(cell)
        return cell
    parent = nearest.number if nearest is not None else None
    cell = TaskCell(next(_numbers), parent, current_scope.get(), time_ns())
    try:
        task.otel_tasklog_cell = cell  # type: ignore[attr-defined]
    except AttributeError:
        _refusing[task] = cell
    _nearest_cell.set(cell)
    loop = _get_running_loop()
    if loop is not None:
        _loops.note(loop)
    return cell


def seen_loops() -> tuple[list[AbstractEventLoop], bool]:
    """Return the loops that are known, and whether those are all.

    Known are those in which a task was numbered, or that were noted.

    From any thread.
    """
    return _loops.all(), _loops.complete


def note_loop(loop: AbstractEventLoop) -> None:
    """Know a loop though no task of it has been numbered. From any thread."""
    _loops.note(loop)


def forget_loops() -> None:
    """Forget the loops of the parent in a forked child, in which none of them runs."""
    _loops.forget()


def running_cell() -> TaskCell | None:
    """Return the cell of the running asyncio task, or None outside of one."""
    loop = _get_running_loop()
    running = current_task(loop) if loop is not None else None
    return number_task(running) if running is not None else None


def current_task_id() -> str | None:
    """Return the job id that a record logged here would carry.

    Returns:
        The innermost `task` scope's id, else the running asyncio task's name,
        else None.
    """
    scope = current_scope.get()
    if scope is not None and scope.task_id is not None:
        return scope.task_id
    loop = _get_running_loop()
    running = current_task(loop) if loop is not None else None
    return running.get_name() if running is not None else None


def new_task_id(prefix: str = "task") -> str:
    """Return ``prefix-`` and 32 random hexadecimal digits (a version 4 UUID)."""
    return f"{prefix}-{uuid.uuid4().hex}"


def as_task_id(value: object) -> str | None:
    """Return *value* as a job id: its text, or None for None and the empty text."""
    return None if value is None else (text_of(value) or None)
