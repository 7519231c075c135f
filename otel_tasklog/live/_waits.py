"""What a live asyncio task waits on, seen from outside of its event loop.

Where the application's own part of the task's chain of coroutines ends is the line
that waits; what asyncio's part is called says what for; the future at the end says who
must come first, if that is another task.

All of it may be asked from any thread, while the loop runs on. What changes meanwhile
makes an answer old, or None, and never raises. Nothing of the application's runs, not
even a ``repr``.
"""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final, Literal, NamedTuple, TypeAlias, cast

from otel_tasklog.capture._tasks import known_cell
from otel_tasklog.live._await_chain import (
    Owner,
    chain_of,
    class_name,
    closed_over,
    coroutine_of,
    inside,
    is_pending,
    is_running,
    is_task,
    name_of,
    owner_of,
    waiter_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from types import FrameType

    from otel_tasklog.live._await_chain import Task

__all__ = [
    "AwaitedTask",
    "Kind",
    "TaskWait",
    "all_tasks",
    "awaited_of",
    "named",
    "wait_of",
]

Kind: TypeAlias = Literal[
    "running", "ready", "sleep", "lock", "event", "condition", "semaphore", "barrier",
    "queue", "stream", "socket", "process", "executor", "task", "tasks", "future",
]  # fmt: skip
"""``running`` and ``ready`` wait for nothing but their turn; ``future`` is any other."""

MOST_AWAITED: Final = 20
"""Of more tasks, awaited together, only so many are named."""

TRIES: Final = 3
"""Each is a thousand of asyncio's own, on Python 3.11 to 3.13."""

_KINDS: Final[Mapping[str, Kind]] = {
    "sleep": "sleep",
    "Lock.acquire": "lock",
    "Event.wait": "event",
    "Condition.wait": "condition",
    "Condition.wait_for": "condition",
    "Semaphore.acquire": "semaphore",
    "Barrier.wait": "barrier",
    "Queue.get": "queue",
    "Queue.put": "queue",
    "Queue.join": "queue",
    "Process.wait": "process",
    "Process.communicate": "process",
    "to_thread": "executor",
    "wait": "tasks",
    "TaskGroup.__aexit__": "tasks",
    "as_completed.<locals>._wait_for_one": "tasks",
    "_AsCompletedIterator._wait_for_one": "tasks",
    "open_connection": "socket",
    "open_unix_connection": "socket",
}
"""What asyncio's coroutines wait for, by their qualified names."""

_SHIELD: Final = {"shield.<locals>._outer_done_callback": "inner"}
_EXECUTOR: Final = {"_chain_future.<locals>._call_check_cancel": "source"}

_STREAMS: Final = frozenset({"StreamReader", "StreamWriter"})
_OF_LOOPS: Final = ("sock_", "create_", "getaddrinfo", "getnameinfo", "start_tls")


class AwaitedTask(NamedTuple):
    """A task that another one waits for.

    Attributes:
        number: Its number, or None if it has neither logged nor opened a scope.
        name: Its name.
    """

    number: int | None
    name: str


class TaskWait(NamedTuple):
    """What an asyncio task waits on.

    Attributes:
        kind: What sort of thing it is: ``"sleep"``, ``"queue"``, ``"task"``.
        text: The same for a reader, such as ``Queue.get``, ``gather(3)`` or
            ``task #7 pay-2``. The names in it are the application's.
        awaited: The tasks that must be done first, at most 20 of them.
        path: The file of the innermost coroutine of the application's, or else of an
            installed package's; None if there is none but Python's own.
        line: Where in it, or None.
        function: Its qualified name, or None.
        asyncio_task_number: The number of the task that waits, or None if it has
            neither logged nor opened a scope.
        asyncio_task_name: Its name.
    """

    kind: Kind
    text: str
    awaited: tuple[AwaitedTask, ...]
    path: str | None
    line: int | None
    function: str | None
    asyncio_task_number: int | None
    asyncio_task_name: str


class _Cause(NamedTuple):
    kind: Kind
    text: str
    tasks: Sequence[Task] = ()


def all_tasks(loop: asyncio.AbstractEventLoop) -> Collection[Task] | None:
    """Return the live tasks of a loop, or None if they come and go too fast.

    From any thread. What is held when its task ends is freed where it is let go: be
    brief.
    """
    for _ in range(TRIES):
        try:
            return asyncio.all_tasks(loop)
        except RuntimeError:  # the loop's thread made or ended one meanwhile
            continue
    return None


def wait_of(task: Task, clean: Callable[[str], str]) -> TaskWait | None:
    """Return what a task waits on; None if it is done, or that cannot be told.

    From any thread; never raises.

    Args:
        task: The task.
        clean: Makes of a task's name what its records have.
    """
    try:
        return _wait_of(task, clean) if is_pending(task) else None
    except Exception:  # noqa: BLE001 - it went on meanwhile, or is no task of asyncio's
        return None


def awaited_of(task: Task) -> Sequence[Task]:
    """Return all tasks that one waits for; none if that cannot be told.

    From any thread; never raises.
    """
    waiter = waiter_of(task)
    if waiter is None or is_task(waiter):
        return [waiter] if is_task(waiter) else ()
    try:
        _, below, last = chain_of(task)
        return _cause_of(task, below).tasks if last is task else [last]
    except Exception:  # noqa: BLE001 - it went on meanwhile
        return ()


def _wait_of(task: Task, clean: Callable[[str], str]) -> TaskWait:
    place, below, last = chain_of(task)
    kind, text, tasks = _cause_of(last, below)
    # Of a task that was made to be waited for, it tells what that one waits on.
    first = tasks if last is task else (last,)
    awaited = tuple([named(each, clean) for each in first[:MOST_AWAITED]])
    if kind == "task":
        text = f"task {_shown(named(tasks[0], clean))}"
    number, name = named(task, clean)
    path = line = function = None
    if place is not None:
        path, function = place.f_code.co_filename, place.f_code.co_qualname
        line = place.f_lineno if (place.f_lineno or 0) > 0 else None  # compiled: -1
    return TaskWait(kind, text, awaited, path, line, function, number, name)


def named(task: Task, clean: Callable[[str], str]) -> AwaitedTask:
    """Return a task's number and name. From any thread."""
    cell = known_cell(task)
    number = cell.number if cell is not None else None
    return AwaitedTask(number, clean(name_of(task)))


def _shown(task: AwaitedTask) -> str:
    return task.name if task.number is None else f"#{task.number} {task.name}"


def _cause_of(task: Task, below: list[FrameType]) -> _Cause:
    waiter = waiter_of(task)
    if waiter is None:
        runs = is_running(coroutine_of(task))
        if runs:
            return _Cause("running", "running")
        return _Cause("ready", "not started" if runs is None else "ready")
    if is_pending(waiter) is False:
        return _Cause("ready", "ready")
    future = _awaited_future(waiter, below)
    if is_task(future):
        return _Cause("task", "", [future])
    if _is_gathering(future):
        return _together("gather", inside(future, "_children"))
    for frame in below:
        code = frame.f_code
        kind = _kind_of(code.co_qualname)
        if kind is not None and owner_of(code.co_filename) is Owner.PYTHON:
            return _called(kind, code.co_qualname, frame)
    if closed_over(future, _EXECUTOR):
        return _Cause("executor", "executor")
    return _Cause("future", below[0].f_code.co_qualname if below else "future")


def _awaited_future(waiter: object, below: list[FrameType]) -> object:
    """Return the future that counts: not that of ``wait_for()`` or ``shield()``."""
    if below and below[-1].f_code.co_qualname == "wait_for":
        future = below[-1].f_locals.get("fut")
        waiter = future if is_pending(future) else waiter
    while shielded := closed_over(waiter, _SHIELD):
        waiter = shielded[0]
    return waiter


def _is_gathering(future: object) -> bool:
    return class_name(type(future)) == "_GatheringFuture"


@functools.lru_cache(maxsize=4_096)
def _kind_of(name: str) -> Kind | None:
    owner, _, method = name.rpartition(".")
    if owner in _STREAMS:
        return "stream"
    if method.startswith(_OF_LOOPS):
        return "socket"
    return _KINDS.get(name)


def _called(kind: Kind, name: str, frame: FrameType) -> _Cause:
    """Return what a coroutine of asyncio's waits for.

    Args:
        kind: What sort of thing that is.
        name: The coroutine's qualified name.
        frame: Its frame.
    """
    if kind == "sleep":
        delay: Any = frame.f_locals.get("delay")
        exact = type(delay) is float or type(delay) is int
        return _Cause(kind, f"sleep({round(delay, 3):g})" if exact else name)
    if name == "wait":
        return _together(name, frame.f_locals.get("fs"))
    if name == "TaskGroup.__aexit__":
        return _together("TaskGroup", inside(frame.f_locals.get("self"), "_tasks"))
    if kind == "tasks":  # from Python 3.13 on it tells of which
        futures = _members(inside(frame.f_locals.get("self"), "_todo"))
        return _Cause(kind, "as_completed", _tasks_behind(futures))
    if kind == "socket":
        name = name.rpartition(".")[2]  # asyncio's and uvloop's loops are alike
    return _Cause(kind, name)


def _together(name: str, members: object) -> _Cause:
    """Return the cause that is several futures, of which some may be tasks."""
    pending = [each for each in _members(members) if is_pending(each)]
    return _Cause("tasks", f"{name}({len(pending)})", _tasks_behind(pending))


def _members(members: object) -> list[object]:
    if type(members) is list or type(members) is set:
        return [*cast("Any", members).copy()]  # in one step: they come and go
    return []


def _tasks_behind(futures: Sequence[object]) -> list[Task]:
    """Return the tasks among futures, and behind those of gather() and shield()."""
    unseen = [*futures]
    known: set[int] = set()
    found: list[Task] = []
    for future in unseen:  # which grows meanwhile
        if id(future) in known or not is_pending(future):
            continue
        known.add(id(future))
        if is_task(future):
            found.append(future)
            continue
        if _is_gathering(future):
            unseen += _members(inside(future, "_children"))
        unseen += closed_over(future, _SHIELD)
    return found
