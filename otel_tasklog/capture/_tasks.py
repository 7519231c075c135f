"""Who is logging: the job that a scope names, and the running asyncio task.

Two identities, both inherited through ``contextvars`` and neither of them in
need of a task factory:

* A *scope* (`task`, `bind`) names the job, a string of the application's own,
  and the attributes that each of its records carries.
* A *cell* numbers one asyncio task. ``id(task)`` is reused within microseconds
  of a task's end, so a number is drawn when a task first logs or opens a scope
  and stays on the task object. Its parent is the nearest ancestor that had a
  number when the task was created, which the copied context still tells.
"""

from __future__ import annotations

import abc
import functools
import inspect
import itertools
import uuid

# Exported by asyncio for event-loop implementers. Unlike get_running_loop() it
# does not raise outside a loop, where an exception would cost each log call
# more than all of its other work.
from asyncio import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    current_task,
)
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final, ParamSpec, TypeVar, cast
from weakref import WeakKeyDictionary

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._values import snapshot

if TYPE_CHECKING:
    from asyncio import Task
    from collections.abc import Callable, Mapping

__all__ = [
    "Binding",
    "Scope",
    "TaskCell",
    "TaskScope",
    "bind",
    "current_scope",
    "current_task_id",
    "known_cell",
    "new_task_id",
    "running_cell",
    "task",
]

P = ParamSpec("P")
R = TypeVar("R")


class TaskCell:
    """The number of one asyncio task.

    Attributes:
        number: Unique in this process and never reused.
        parent: The number of the nearest ancestor that had one, or None.
    """

    __slots__ = ("number", "parent")

    def __init__(self, number: int, parent: int | None) -> None:
        self.number: Final = number
        self.parent: Final = parent


class Scope:
    """What the innermost `task` and `bind` say. Immutable, shared by records.

    Attributes:
        task_id: The job's id, or None if only attributes are bound.
        parent_id: The id of the enclosing job, or None.
        attributes: What each record of the scope carries.
        outer: The scope around it.
        owner: What was entered; it restores *outer* when it is left.
    """

    __slots__ = ("attributes", "outer", "owner", "parent_id", "task_id")

    def __init__(
        self,
        task_id: str | None,
        parent_id: str | None,
        attributes: Mapping[str, object],
        *,
        outer: Scope | None,
        owner: object,
    ) -> None:
        self.task_id: Final = task_id
        self.parent_id: Final = parent_id
        self.attributes: Final = attributes
        self.outer: Final = outer
        self.owner: Final = owner


current_scope: Final[ContextVar[Scope | None]] = ContextVar(
    "otel_tasklog.scope", default=None
)
_nearest_cell: Final[ContextVar[TaskCell | None]] = ContextVar(
    "otel_tasklog.cell", default=None
)
_numbers = itertools.count(1)
# For Task classes that refuse a new attribute; asyncio's own and uvloop's take it.
_refusing: Final[WeakKeyDictionary[Task[Any], TaskCell]] = WeakKeyDictionary()


def known_cell(task: Task[Any]) -> TaskCell | None:
    """Return *task*'s cell if it has logged or opened a scope. From any thread."""
    found = getattr(task, "otel_tasklog_cell", None)
    return found if isinstance(found, TaskCell) else _refusing.get(task)


def number_task(task: Task[Any]) -> TaskCell:
    """Return the cell of *task*, which must be the running one; draw it if new."""
    cell = known_cell(task)
    if cell is not None:
        return cell
    nearest = _nearest_cell.get()
    cell = TaskCell(next(_numbers), nearest.number if nearest is not None else None)
    try:
        task.otel_tasklog_cell = cell  # type: ignore[attr-defined]
    except AttributeError:
        _refusing[task] = cell
    _nearest_cell.set(cell)
    return cell


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
    return None if value is None else (str(value) or None)


def _named(attributes: Mapping[str, object], where: str) -> Mapping[str, object]:
    if "task_id" in attributes:
        raise ConfigError(
            f"{where}: task_id", attributes["task_id"], "task(id) to name a job"
        )
    return attributes


class _Scoped(abc.ABC):
    """Sets the current scope on entry and restores the one around it on exit.

    Scopes know their owner and the scope around them, so one object may be entered
    by several tasks at once, or again before it is left. The exit of an async
    generator or of a sync yield-dependency can run in another context than its
    entry; there the scope was never set, and nothing is restored.
    """

    @abc.abstractmethod
    def _make(self, outer: Scope | None) -> Scope:
        """Return the scope that is entered, inside *outer*."""

    def _set(self) -> Scope:
        scope = self._make(current_scope.get())
        current_scope.set(scope)
        return scope

    def _reset(self) -> None:
        scope = current_scope.get()
        while scope is not None and scope.owner is not self:
            scope = scope.outer  # bound inside and never unbound
        if scope is not None:
            current_scope.set(scope.outer)


class TaskScope(_Scoped):
    """What `task` returns: a context manager, sync and async, and a decorator."""

    def __init__(
        self, task_id: object, *, attributes: Mapping[str, object] | None = None
    ) -> None:
        self._id = task_id
        self._attributes = _named(attributes or {}, "task(attributes)")

    def _make(self, outer: Scope | None) -> Scope:
        if callable(self._id):
            raise ConfigError(
                "task(id)", self._id, "an id; a callable is for use as a decorator"
            )
        running_cell()  # numbers the task, so that its children know their parent
        merged: Mapping[str, object]
        merged = {k: snapshot(v) for k, v in self._attributes.items()}
        enclosing = outer.task_id if outer is not None else None
        if outer is not None:
            merged = {**outer.attributes, **merged}
        own, parent = as_task_id(self._id), enclosing
        if own is None:
            own, parent = enclosing, outer.parent_id if outer is not None else None
        return Scope(own, parent, merged, outer=outer, owner=self)

    def __enter__(self) -> str | None:
        """Enter the scope; the value is the job's id."""
        return self._set().task_id

    def __exit__(self, *raised: object) -> None:
        """Restore the enclosing scope, also on cancellation."""
        self._reset()

    async def __aenter__(self) -> str | None:
        """Enter the scope; the value is the job's id."""
        return self.__enter__()

    async def __aexit__(self, *raised: object) -> None:
        """Restore the enclosing scope, also on cancellation."""
        self._reset()

    def __call__(self, function: Callable[P, R]) -> Callable[P, R]:
        """Run each call of *function*, plain or coroutine, in a scope of its own.

        Raises:
            ConfigError: For a generator function, whose body runs in its
                caller's context: open the scope inside it instead.
        """
        if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(
            function
        ):
            raise ConfigError(
                "task()", function, "a function or coroutine function, no generator"
            )

        def scope(args: tuple[object, ...], kwargs: dict[str, object]) -> TaskScope:
            task_id = self._id(*args, **kwargs) if callable(self._id) else self._id
            return TaskScope(task_id, attributes=self._attributes)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def run_async(*args: P.args, **kwargs: P.kwargs) -> object:
                with scope(args, kwargs):
                    return await function(*args, **kwargs)

            return cast("Callable[P, R]", run_async)

        @functools.wraps(function)
        def run(*args: P.args, **kwargs: P.kwargs) -> R:
            with scope(args, kwargs):
                return function(*args, **kwargs)

        return run


def task(
    id: object,  # noqa: A002 - the field's word, and callers pass it by position
    *,
    attributes: Mapping[str, object] | None = None,
) -> TaskScope:
    """Name the job that the enclosed code works for.

    Every record logged inside, by whatever logger, in this task, in child tasks
    and in ``asyncio.to_thread``, carries the id as ``task_id``, and the id of
    the scope around it as ``task_parent_id``.

    Args:
        id: The job's id; its ``str()`` is taken. None or ``""`` keeps the
            enclosing one. As a decorator: also a callable that is given the
            call's arguments and returns the id.
        attributes: Carried by each record of the scope; nested scopes add to
            them. Their values are copied on entry.

    Returns:
        A context manager (``with`` and ``async with``), whose value is the id,
        and a decorator for functions and coroutine functions.
    """
    return TaskScope(id, attributes=attributes)


_NO_SCOPE: Final = Scope(None, None, {}, outer=None, owner=None)


class Binding(_Scoped):
    """What `bind` returns: bound already; leaving it as a context manager unbinds."""

    def __init__(self, attributes: Mapping[str, object]) -> None:
        attributes = _named(attributes, "bind()")
        self._attributes = {k: snapshot(v) for k, v in attributes.items()}
        self._set()

    def _make(self, outer: Scope | None) -> Scope:
        around = outer if outer is not None else _NO_SCOPE
        merged = {**around.attributes, **self._attributes}
        return Scope(around.task_id, around.parent_id, merged, outer=outer, owner=self)

    def __enter__(self) -> None:
        """Do nothing: the attributes are bound since the call."""

    def __exit__(self, *raised: object) -> None:
        """Unbind."""
        self._reset()


def bind(**attributes: object) -> Binding:
    """Add attributes to every later record of the current context.

    They last until the enclosing `task` scope or asyncio task ends, or, with
    ``with bind(...):``, until the block does.

    Args:
        **attributes: Copied here; an ``extra`` of the same name wins.

    Raises:
        ConfigError: For ``task_id``, which `task` sets.
    """
    return Binding(attributes)
