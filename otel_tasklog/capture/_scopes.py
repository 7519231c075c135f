"""Scopes: what code enters to name the job that it works for.

See ``_tasks.py`` for the two identities of a record, of which this is the one that
the application gives.
"""

from __future__ import annotations

import abc
import functools
import inspect
import logging
from typing import TYPE_CHECKING, Final, ParamSpec, TypeVar, cast
from weakref import ref

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._lifecycle import Lifecycle
from otel_tasklog.capture._plain import named
from otel_tasklog.capture._shape import bound_name
from otel_tasklog.capture._tasks import Scope, as_task_id, current_scope, running_cell
from otel_tasklog.capture._values import snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tasklog.capture._values import Value

__all__ = ["Binding", "TaskScope", "bind", "task"]

P = ParamSpec("P")
R = TypeVar("R")


def _named(attributes: Mapping[str, object], where: str) -> Mapping[str, object]:
    if "task_id" in attributes:
        raise ConfigError(
            f"{where}: task_id", attributes["task_id"], "task(id) to name a job"
        )
    return attributes


def _copied(attributes: Mapping[str, object]) -> dict[str, Value]:
    return {bound_name(named(k)): snapshot(v) for k, v in attributes.items()}


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
        outer = current_scope.get()
        if outer is not None:
            outer.shorten()
        scope = self._make(outer)
        current_scope.set(scope)
        return scope

    def _entered(self) -> Scope | None:
        """Return what the innermost entry set, or None in another context."""
        scope = current_scope.get()
        while scope is not None and scope.owner() is not self:
            scope = scope.outer  # bound inside and never unbound
        return scope

    def _reset(self) -> None:
        scope = self._entered()
        if scope is not None:
            current_scope.set(scope.outer)


class TaskScope(_Scoped):
    """What `task` returns: a context manager, sync and async, and a decorator."""

    def __init__(
        self,
        task_id: object,
        *,
        attributes: Mapping[str, object] | None = None,
        lifecycle: Lifecycle | None = None,
    ) -> None:
        self._id = task_id
        self._attributes = _named(attributes or {}, "task(attributes)")
        self._lifecycle = lifecycle

    def _make(self, outer: Scope | None) -> Scope:
        if callable(self._id):
            raise ConfigError(
                "task(id)", self._id, "an id; a callable is for use as a decorator"
            )
        cell = (
            running_cell()
        )  # numbers the task, so that its children know their parent
        merged = _copied(self._attributes)
        enclosing = outer.task_id if outer is not None else None
        if outer is not None:
            merged = {**outer.attributes, **merged}
        own, parent = as_task_id(self._id), enclosing
        if own is None:
            own, parent = enclosing, outer.parent_id if outer is not None else None
        scope = Scope(own, parent, merged, outer=outer, owner=ref(self))
        if cell is not None:
            cell.scope, cell.opens_scopes = scope, True
        return scope

    def _reset(self) -> None:
        super()._reset()
        cell = running_cell()
        if cell is not None:
            cell.scope = current_scope.get()

    def __enter__(self) -> str | None:
        """Enter the scope; the value is the job's id."""
        scope = self._set()
        if self._lifecycle is not None:
            try:
                self._lifecycle.start(scope)
            except BaseException:  # Ctrl-C
                self._reset()
                raise
        return scope.task_id

    def __exit__(
        self, _kind: object, error: BaseException | None, _traceback: object
    ) -> None:
        """Restore the enclosing scope, also on cancellation."""
        try:
            if self._lifecycle is not None:
                self._lifecycle.end(self._entered(), error)
        finally:
            self._reset()

    async def __aenter__(self) -> str | None:
        """Enter the scope; the value is the job's id."""
        return self.__enter__()

    async def __aexit__(
        self, kind: object, error: BaseException | None, traceback: object
    ) -> None:
        """Restore the enclosing scope, also on cancellation."""
        self.__exit__(kind, error, traceback)

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

        code = getattr(inspect.unwrap(function), "__code__", None)

        def scope(args: tuple[object, ...], kwargs: dict[str, object]) -> TaskScope:
            task_id = self._id(*args, **kwargs) if callable(self._id) else self._id
            lifecycle = self._lifecycle
            if lifecycle is not None:
                lifecycle = Lifecycle(lifecycle.logger, code)
            return TaskScope(task_id, attributes=self._attributes, lifecycle=lifecycle)

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
    lifecycle: bool | logging.Logger = False,
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
        lifecycle: Whether to log a record when the job starts and one when it ends,
            with ``outcome`` and ``duration_seconds``; to the logger
            ``otel_tasklog.task``, or to the one that is given.

    Returns:
        A context manager (``with`` and ``async with``), whose value is the id,
        and a decorator for functions and coroutine functions.

    Raises:
        ConfigError: *attributes* has a ``task_id``, or *lifecycle* is something else.
    """
    return TaskScope(id, attributes=attributes, lifecycle=_lifecycle(lifecycle))


def _lifecycle(wished: object) -> Lifecycle | None:
    if isinstance(wished, logging.Logger):
        return Lifecycle(wished)
    if not isinstance(wished, bool):
        expected = "True, False or a logging.Logger"
        raise ConfigError("task(lifecycle)", wished, expected)
    return Lifecycle(None) if wished else None


_NO_SCOPE: Final = Scope(None, None, {})


class Binding(_Scoped):
    """What `bind` returns: bound already; leaving it as a context manager unbinds."""

    def __init__(self, attributes: Mapping[str, object]) -> None:
        attributes = _named(attributes, "bind()")
        self._attributes = _copied(attributes)
        self._set()

    def _make(self, outer: Scope | None) -> Scope:
        around = outer if outer is not None else _NO_SCOPE
        merged = {**around.attributes, **self._attributes}
        return Scope(
            around.task_id, around.parent_id, merged, outer=outer, owner=ref(self)
        )

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
