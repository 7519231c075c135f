"""The chain of coroutines that a suspended task is, without a step of it.

Of asyncio's tasks and futures, compiled or not, and of coroutines, generators and
their like made by Python, C or Cython. What else may be awaited ends the chain: an
attribute of it could be a program. So nothing here runs code of the application's.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import gc
import os
import sysconfig
from types import (
    AsyncGeneratorType,
    CoroutineType,
    FrameType,
    FunctionType,
    GeneratorType,
    GetSetDescriptorType,
    MemberDescriptorType,
)
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, TypeGuard, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = [
    "Chain",
    "Owner",
    "Task",
    "awaitables_of",
    "chain_of",
    "class_name",
    "closed_over",
    "coroutine_of",
    "inside",
    "is_pending",
    "is_running",
    "is_task",
    "name_of",
    "owner_of",
    "waiter_of",
]

Task: TypeAlias = "asyncio.Task[Any]"

DEEPEST: Final = 256
"""Of a longer chain only so many coroutines are looked at, from the task's own on."""

# Awaitables made in C that stand before a coroutine and have no attribute for it.
_WRAPPERS: Final = frozenset(
    {
        "anext_awaitable",
        "async_generator_asend",
        "async_generator_athrow",
        "coroutine_wrapper",
    }
)

# What a class is, without a word of its metaclass.
class_name: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__
_own: Final[Callable[[type], Mapping[str, object]]] = type.__dict__["__dict__"].__get__

_OF_COROUTINES: Final = ("cr_await", "cr_frame", "cr_running")
_IN_C: Final = (MemberDescriptorType, GetSetDescriptorType)

_STANDARD_PATHS: Final = (
    f"{sysconfig.get_path('stdlib')}{os.sep}",
    asyncio.__file__.removesuffix("__init__.py"),
    "uvloop/",  # as its compiled code has it
)


class Owner(enum.IntEnum):
    """Whose a file is; the lower, the more an application cares."""

    APPLICATION = 0
    INSTALLED = 1
    PYTHON = 2


class Chain(NamedTuple):
    """Where a task waits.

    Attributes:
        place: The frame of the innermost coroutine of the application's; of an
            installed package's, if it has none; None if neither has one.
        below: The frames of those that it awaits, the innermost last.
        task: The task that has the last of them.
    """

    place: FrameType | None
    below: list[FrameType]
    task: Task


def chain_of(task: Task) -> Chain:
    """Follow a task's coroutine to the last one that it awaits.

    Up to Python 3.11 ``wait_for`` runs what it is to wait for in a task of its own.
    That is followed, too.
    """
    place: FrameType | None = None
    best = Owner.INSTALLED
    below: list[FrameType] = []
    awaitable = coroutine_of(task)
    for _ in range(DEEPEST):
        frame, awaitable = _look_into(awaitable)
        if frame is not None:
            code = frame.f_code
            owner = owner_of(code.co_filename)
            if owner <= best:
                place, best = frame, owner
                below.clear()
            else:
                below.append(frame)
                if code.co_qualname == "wait_for" and owner is Owner.PYTHON:
                    inner = frame.f_locals.get("fut")
                    if is_task(inner) and waiter_of(task) not in {None, inner}:
                        task, awaitable = inner, coroutine_of(inner)
        if awaitable is None:
            break
    return Chain(place, below, task)


def awaitables_of(task: Task) -> Iterator[tuple[object, FrameType | None]]:
    """Yield a task's coroutine and what it awaits, the innermost last, and frames.

    A future at the end is not among them, but what awaits it is.
    """
    awaitable = coroutine_of(task)
    for _ in range(DEEPEST):
        frame, awaited = _look_into(awaitable)
        yield awaitable, frame
        if awaited is None:
            return
        awaitable = awaited


def _look_into(awaitable: object) -> tuple[FrameType | None, object]:
    """Return the frame of an awaitable, if it has one, and what it awaits itself."""
    known: Any = awaitable
    kind = type(awaitable)
    if kind is CoroutineType:
        return known.cr_frame, known.cr_await
    if kind is GeneratorType:
        return known.gi_frame, known.gi_yieldfrom
    if kind is AsyncGeneratorType:
        return known.ag_frame, known.ag_await
    name = class_name(kind)
    if name == "FutureIter":  # the usual end
        return None, None
    if name in _WRAPPERS:
        inner = [each for each in gc.get_referents(awaitable) if type(each) is not type]
        return None, inner[0] if inner else None
    if _is_compiled(kind):
        return known.cr_frame, known.cr_await
    return None, None


def _is_compiled(kind: type) -> bool:
    """Return whether it is another coroutine made in C: of Cython, as uvloop's are."""
    own = _own(kind)
    return all(type(own.get(name)) in _IN_C for name in _OF_COROUTINES)


@functools.lru_cache(maxsize=4_096)
def owner_of(path: str) -> Owner:
    """Return whose a file of source code is."""
    folders = path.replace("\\", "/").split("/")
    if "site-packages" in folders or "dist-packages" in folders:
        return Owner.INSTALLED
    return Owner.PYTHON if path.startswith(_STANDARD_PATHS) else Owner.APPLICATION


def is_running(coroutine: object) -> bool | None:
    """Return whether a coroutine runs right now; None if it was never begun."""
    known: Any = coroutine
    kind = type(coroutine)
    if kind is CoroutineType:
        return True if known.cr_running else False if known.cr_suspended else None
    return _is_compiled(kind) and bool(known.cr_running)


def is_task(value: object) -> TypeGuard[Task]:
    """Return whether it is a task of asyncio's, which uvloop's are too."""
    return issubclass(type(value), asyncio.Task)


def coroutine_of(task: Task) -> object:
    """Return a task's coroutine."""
    known: Any = asyncio.Task
    return known.get_coro(task)


def name_of(task: Task) -> str:
    """Return a task's name."""
    known: Any = asyncio.Task
    return str(known.get_name(task))


def is_pending(value: object) -> bool | None:
    """Return whether a future is not done; None if it is no future of asyncio's."""
    known: Any = asyncio.Future
    return not known.done(value) if issubclass(type(value), known) else None


def waiter_of(task: Task) -> object:
    """Return the future that a task waits for, None if it waits for its turn alone."""
    return inside(task, "_fut_waiter")


def inside(value: object, name: str) -> object:
    """Return an attribute for which asyncio has no public name; None if it is gone.

    A class's own ``__getattribute__`` and ``__getattr__`` are passed by.
    """
    try:
        return object.__getattribute__(value, name)
    except AttributeError:
        return None


def closed_over(future: object, variables: Mapping[str, str]) -> list[object]:
    """Return what functions of asyncio's that are called once a future is done know.

    Args:
        future: The future.
        variables: By the qualified name of each such function, which of the variables
            around it.
    """
    callbacks = cast("list[tuple[object, object]] | None", inside(future, "_callbacks"))
    values: list[object] = []
    for callback, _ in callbacks or ():
        if type(callback) is not FunctionType:
            continue
        code = callback.__code__
        variable = variables.get(code.co_qualname)
        if variable in code.co_freevars and owner_of(code.co_filename) is Owner.PYTHON:
            cell = (callback.__closure__ or ())[code.co_freevars.index(variable)]
            with contextlib.suppress(ValueError):  # it is not assigned yet
                values.append(cell.cell_contents)
    return values
