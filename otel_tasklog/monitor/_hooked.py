"""Where tasks were made and how they ended, by a task factory; on demand.

aiomonitor's own factory takes the place of the program's, marks every exception as
retrieved, so that Python no longer says which were not, wraps each coroutine, refuses
``eager_start``, names all tasks ``None`` on Python 3.13.0 to 3.13.2, and reads the
source of the whole stack for each task. `TaskHook` gives aiomonitor's commands the same
facts and does none of that.

Imported only when a monitor starts.
"""

# mypy, to which a class of an untyped package is Any, needs an ignore that pyright
# does not:
# pyright: reportUnnecessaryTypeIgnoreComment=false

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import time
from collections import deque
from traceback import FrameSummary, walk_tb
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast
from weakref import WeakKeyDictionary, ref

from aiomonitor import task as aiomonitors  # type: ignore[import-untyped]  # noqa: TID253 - this module is imported inside a function
from aiomonitor.types import TerminatedTaskInfo  # type: ignore[import-untyped]  # noqa: TID253 - ditto

from otel_tasklog.capture._plain import cut, shown
from otel_tasklog.live._await_chain import inside

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from collections.abc import Callable, Container, Coroutine, Generator, Iterator
    from types import FrameType

    Made: TypeAlias = Coroutine[Any, Any, Any] | Generator[Any, Any, Any]
    Factory: TypeAlias = Callable[..., asyncio.Future[Any]]

__all__ = ["AnyTask", "Stack", "TaskHook"]

ENDED_TASKS: Final = 1_000
"""So many are remembered, the newest."""

DEEPEST: Final = 32
"""Of a deeper stack only the innermost frames are kept."""

ERROR_CHARACTERS: Final = 300

Stack: TypeAlias = list[FrameSummary]

AnyTask: TypeAlias = asyncio.Task[Any]

_ASYNCIO: Final = asyncio.__file__.removesuffix("__init__.py")
_RUNS: Final = frozenset(
    {("_run", f"{_ASYNCIO}events.py"), ("run", f"{_ASYNCIO}runners.py")}
)
# aiomonitor shows of a stack what is below the last frame of a running loop, and
# fails where nothing is. So each begins with one.
_LOOP: Final = FrameSummary(f"asyncio{os.sep}events.py", 0, "_run", lookup_line=False)

_persistent: Final[Container[object]] = cast("Any", aiomonitors).persistent_coro
_numbers: Final = itertools.count(1)
_plain: Final[Any] = asyncio.Task  # not aiomonitor's, which would be asked first


class Task(aiomonitors.TracedTask):  # type: ignore[misc]
    """A task that tells aiomonitor since when it is there, and who cancelled it.

    Nothing else of aiomonitor's own, whose ``__init__`` is not called. Python names the
    class where it says that an exception was never retrieved, as people know it.

    Attributes:
        trace: What ``ps-terminated`` calls it.
        canceller: The task that cancelled it last, if it has a trace, and where.
    """

    def __init__(self, coro: Made, **options: Any) -> None:  # noqa: ANN401 - Task's own
        # Before the task is one: an eager one runs meanwhile.
        self.trace = _new_trace()
        self.canceller: tuple[str | None, Stack] | None = None
        self._orig_coro: Any = coro
        self._started_at = time.perf_counter()
        _plain.__init__(self, coro, **options)

    def set_name(self, value: object) -> None:
        if value is not None:  # as Python 3.13.0 to 3.13.2 have it without a name
            super().set_name(value)

    def cancel(self, msg: Any | None = None) -> bool:  # noqa: ANN401 - Task's own
        try:
            canceller = asyncio.current_task()
        except RuntimeError:  # from outside of a loop
            canceller = None
        if canceller is not None:
            trace = canceller.trace if isinstance(canceller, Task) else None
            self.canceller = (trace, _stack_of(_caller(1)))
        cancelled: bool = _plain.cancel(self, msg)
        return cancelled


class TaskHook:
    """A task factory that remembers where tasks were made and how they ended.

    The factory that was there makes the tasks, if there is one. Its tasks have no age
    and no canceller.

    Args:
        loop: Whose tasks. `install` and `remove` are for any thread.

    Attributes:
        stacks: Where each live task was made, the innermost frame last.
        makers: The task that made it.
    """

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._before: Factory | None = None
        self._installed = False
        self._make: Final = self._create  # each look at a method makes another object
        self._ended: deque[tuple[TerminatedTaskInfo, str | None]]
        self._ended = deque(maxlen=ENDED_TASKS)
        self.stacks: WeakKeyDictionary[AnyTask, Stack] = WeakKeyDictionary()
        self.makers: WeakKeyDictionary[AnyTask, ref[AnyTask]] = WeakKeyDictionary()

    def install(self) -> None:
        """Make the loop's tasks, or have the factory make them that is there."""
        self._before = self._loop.get_task_factory()
        self._installed = True
        self._loop.set_task_factory(self._make)

    def remove(self) -> None:
        """Put back what was there, unless somebody else has put something since."""
        self._installed = False
        if self._loop.get_task_factory() is self._make:
            self._loop.set_task_factory(self._before)

    def ended(self) -> list[tuple[TerminatedTaskInfo, str | None]]:
        """Return what is known of tasks that ended, each with its canceller's trace."""
        return [*self._ended.copy()]  # the loop goes on meanwhile

    def _create(
        self, loop: AbstractEventLoop, coro: Made, **options: Any  # noqa: ANN401 - who knows what the next Python gives
    ) -> asyncio.Future[Any]:  # fmt: skip
        maker, started = asyncio.current_task(loop), time.perf_counter()
        task: asyncio.Future[Any]
        if self._before is not None:
            task = self._before(loop, coro, **options)
        elif self._installed:
            task = Task(coro, loop=loop, **options)
        else:  # somebody has wrapped ours
            return asyncio.Task(coro, loop=loop, **options)
        if self._installed and isinstance(task, asyncio.Task):
            self._know(task, coro, maker, started)
        return task

    def _know(
        self, task: AnyTask, coro: Made, maker: AnyTask | None, started: float
    ) -> None:
        stack = _stack_of(_caller(2))
        if len(stack) > 1:
            self.stacks[task] = stack
        if maker is not None:
            self.makers[task] = ref(maker)
        trace = task.trace if isinstance(task, Task) else _new_trace()
        name = getattr(coro, "__qualname__", None) or type(coro).__qualname__
        persistent = coro in _persistent

        def end(task: AnyTask) -> None:
            by, where = None, None
            error: object = None
            if not task.cancelled():
                # Its public name marks the exception as retrieved.
                error = inside(task, "_exception")
            elif isinstance(task, Task) and task.canceller is not None:
                by, where = task.canceller
            info = TerminatedTaskInfo(
                id=trace,
                name=task.get_name(),
                coro=f"{name}()",
                started_at=started,
                terminated_at=time.perf_counter(),
                cancelled=task.cancelled(),
                termination_stack=_stack_of_error(error),
                canceller_stack=where,
                exc_repr=None if error is None else cut(shown(error), ERROR_CHARACTERS),
                persistent=persistent,
            )
            self._ended.append((info, by))

        task.add_done_callback(end)


def _new_trace() -> str:
    return f"T{next(_numbers)}"


def _caller(depth: int) -> FrameType:
    # The documented way to name a caller.
    return sys._getframe(depth + 1)  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _stack_of(frame: FrameType | None) -> Stack:
    """Return the stack from the loop to *frame*, without asyncio's innermost frames.

    No source is read: most stacks are never shown.
    """
    frames = itertools.takewhile(_is_in_loop, _outwards(frame))
    ours = itertools.dropwhile(_is_asyncios, itertools.islice(frames, DEEPEST))
    found = [_summary(each, each.f_lineno) for each in ours]
    return [_LOOP, *reversed(found)]


def _outwards(frame: FrameType | None) -> Iterator[FrameType]:
    while frame is not None:
        yield frame
        frame = frame.f_back


def _is_asyncios(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_ASYNCIO)


def _is_in_loop(frame: FrameType) -> bool:
    return (frame.f_code.co_name, frame.f_code.co_filename) not in _RUNS


def _stack_of_error(error: object) -> Stack:
    if not isinstance(error, BaseException):
        return []
    newest = deque(walk_tb(error.__traceback__), DEEPEST)
    return [_LOOP, *itertools.starmap(_summary, newest)]


def _summary(frame: FrameType, line: int) -> FrameSummary:
    code = frame.f_code
    return FrameSummary(code.co_filename, line, code.co_name, lookup_line=False)
