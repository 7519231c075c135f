"""What one live task is doing, and what keeps it from going on."""

from __future__ import annotations

import dataclasses
import gc
import os
import sys
import threading
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from opentelemetry import trace

from otel_tasklog.live._await_chain import (
    awaitables_of,
    coroutine_of,
    is_pending,
    is_running,
    is_task,
    waiter_of,
)
from otel_tasklog.live._running import step_of

if TYPE_CHECKING:
    from contextvars import Context
    from types import FrameType

    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.live._await_chain import Task
    from otel_tasklog.live._tasks import LiveTask
    from otel_tasklog.live._waits import AwaitedTask

__all__ = ["StackFrame", "TaskReport", "has_lost_waker", "span_of", "stack_of"]

MOST_CALLS: Final = 256
"""Of a deeper stack of a running task, the innermost."""

_OURS: Final = f"{Path(__file__).parent.parent}{os.sep}"


class StackFrame(NamedTuple):
    """One of the functions of a stack.

    Attributes:
        path: Its file.
        line: The line that it is at, or None if that is not known.
        function: Its qualified name.
    """

    path: str
    line: int | None
    function: str


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskReport:
    """What a live asyncio task is doing, and what keeps it from going on.

    Attributes:
        task: The task, what it waits on, and what its records say.
        stack: Where it is, the outermost function first: of a task that waits, its
            coroutines; of one that runs, the functions that they have called, too.
        awaited_by: The tasks that wait for it.
        records: Its newest records, the oldest first.
        trace_id: The trace that it is in now; up to Python 3.11, that of its newest
            record. 32 hexadecimal digits, or None.
        span_id: The span likewise; 16 hexadecimal digits.
        lost_waker: Whether nothing else has the future that it waits for, so that the
            task can go on no more but by being cancelled. A hint. None if it waits
            for no future.
        others: The other live tasks that the same word means.
    """

    task: LiveTask
    stack: tuple[StackFrame, ...]
    awaited_by: tuple[AwaitedTask, ...]
    records: tuple[TaskRecord, ...]
    trace_id: str | None
    span_id: str | None
    lost_waker: bool | None
    others: tuple[AwaitedTask, ...]


def stack_of(task: Task) -> tuple[StackFrame, ...]:
    """Return where a task is, the outermost function first. From any thread."""
    running = step_of(task) if is_running(coroutine_of(task)) else None
    if running is None:
        waiting = [frame for _, frame in awaitables_of(task) if frame is not None]
        return tuple(map(_placed, waiting))
    thread, frames = running
    start = 0
    if thread == threading.get_ident():  # it asks itself: not where we are
        start = sum(1 for _ in takewhile(_is_ours, frames))
    return tuple(map(_placed, reversed(frames[start : start + MOST_CALLS])))


def _is_ours(frame: FrameType) -> bool:
    return frame.f_code.co_filename.startswith(_OURS)


def _placed(frame: FrameType) -> StackFrame:
    line = frame.f_lineno
    known = line if line is not None and line > 0 else None  # compiled: -1
    return StackFrame(frame.f_code.co_filename, known, frame.f_code.co_qualname)


def span_of(task: Task, last: TaskRecord | None) -> tuple[str | None, str | None]:
    """Return the trace and the span that a task is in now, in hexadecimal digits.

    From any thread: of the task's context, a copy is entered.

    Args:
        task: The task.
        last: Its newest record, which tells it up to Python 3.11.
    """
    if sys.version_info >= (3, 12):
        return _span_in(task.get_context())
    return (last.trace_id, last.span_id) if last is not None else (None, None)


def _span_in(context: Context) -> tuple[str | None, str | None]:
    try:
        span = context.copy().run(trace.get_current_span).get_span_context()
    except Exception:  # noqa: BLE001 - a span can be anybody's object
        return None, None
    if not span.is_valid:
        return None, None
    return trace.format_trace_id(span.trace_id), trace.format_span_id(span.span_id)


def has_lost_waker(task: Task) -> bool | None:
    """Return whether nobody else has the future that a task waits for.

    Then nobody can wake it: what was to set the future's result is gone. Counted are
    the references to the future, and which of them are the task's own. One that
    nobody can see, in C, counts for somebody else's. No other object is looked at.

    Returns:
        None if the task waits for no future, or went on meanwhile.
    """
    future = waiter_of(task)
    if not is_pending(future) or is_task(future):
        return None
    holders = [task, *(awaitable for awaitable, _ in awaitables_of(task))]
    own = sum(held is future for held in gc.get_referents(*holders))
    probe = object()
    references, ours = sys.getrefcount(future), sys.getrefcount(probe)
    if waiter_of(task) is not future:
        return None
    return references - ours <= own
