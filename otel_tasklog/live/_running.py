"""What runs in an event loop right now, seen from another thread.

All of it may be asked while the loop runs on, and nothing of the application's runs. A
frame holds the objects of whoever runs in it, and what is held when that ends is freed
where it is let go: so frames are looked at, and become plain values at once.
"""

from __future__ import annotations

import sys
from asyncio import current_task
from contextvars import Context
from threading import enumerate as threads
from types import CodeType, CoroutineType
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_tasklog.capture._filter import take_stamp
from otel_tasklog.capture._stamp import Stamp
from otel_tasklog.capture._tasks import known_cell
from otel_tasklog.capture._traces import render_frames
from otel_tasklog.live._await_chain import Owner, coroutine_of, owner_of

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop
    from types import FrameType

    from otel_tasklog.capture._exceptions import Frames
    from otel_tasklog.live._await_chain import Task

__all__ = ["AT_WORK", "Culprit", "culprit_in", "running_in", "stamp_of", "step_of"]

AT_WORK: Final = 0
"""Something runs in the loop, but no code of anybody's that could be named."""

MOST_FRAMES: Final = 100
"""Of a deeper stack, the innermost."""

_POLLS: Final = frozenset({"select", "_poll"})  # of selectors, and of Windows' proactor
_LOGGING: Final = "logging"


class Culprit(NamedTuple):
    """What holds up an event loop.

    Attributes:
        place: The file, line and function of the innermost code of the application's;
            of an installed package's, if it has none there, or else of Python's.
        frames: All that runs, the outermost first.
        thread: The identifier of the loop's thread.
        thread_name: Its name.
        logs: Whether it is in a log call, and may hold the lock of a handler.
        stamp: Whose it is: of a task, or of nobody.
    """

    place: tuple[str, int, str]
    frames: Frames
    thread: int
    thread_name: str
    logs: bool
    stamp: Stamp

    def stack(self) -> str:
        """Return the stack as ``logging`` has it. Reads files."""
        return f"Stack (most recent call last):\n{render_frames(self.frames)}".rstrip()


def running_in(
    loop: AbstractEventLoop, thread: int | None, below: CodeType | None
) -> int | None:
    """Return what tells apart the code that runs in a loop; None if it rests.

    Args:
        loop: The loop.
        thread: The identifier of its thread, or None if it is not known yet.
        below: The code that a callback of the loop is called by, or None likewise.

    Returns:
        A number that stays the same while a task's step, or a callback, runs, or
        `AT_WORK`.
    """
    task = current_task(loop)
    if task is not None:
        return id(task)
    if thread is None or below is None:
        return AT_WORK
    frames = _callback(thread, below)
    if frames:
        return id(frames[-1])
    return AT_WORK if frames is None else None


def culprit_in(
    loop: AbstractEventLoop, thread: int | None, below: CodeType | None
) -> Culprit | None:
    """Return what runs in a loop; None if nothing does that could be named.

    The arguments are those of `running_in`.
    """
    task = current_task(loop)
    if task is not None:
        found = step_of(task)
        if found is not None:
            return _culprit(*found, stamp_of(task))
    if thread is None or below is None:
        return None
    frames = _callback(thread, below)
    if not frames:
        return None
    stamp = stamp_of(task) if task is not None else Stamp(whole=True)
    return _culprit(thread, frames, stamp)


def stamp_of(task: Task) -> Stamp:
    """Return who would be logging if a task did so now. From any thread.

    Up to Python 3.11 the context of a task cannot be known: neither its trace, nor
    what is bound outside of the innermost scope that names a job.
    """
    get_context: Any = getattr(task, "get_context", None)
    if get_context is not None:
        context: Context = get_context()
        return context.copy().run(take_stamp, task)  # its own may have been entered
    stamp = Context().run(take_stamp, task)
    cell = known_cell(task)
    scope = cell.scope if cell is not None else None
    if scope is None:
        return stamp
    return stamp._replace(
        task_id=scope.task_id,
        task_parent_id=scope.parent_id,
        bound=scope.attributes.copy(),
    )


def _innermost() -> dict[int, FrameType]:
    """Return the innermost frame of each thread. There is no other way to it."""
    return sys._current_frames()  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def step_of(task: Task) -> tuple[int, list[FrameType]] | None:
    """Return the thread that a task runs in, and its frames, the innermost first."""
    coroutine: Any = coroutine_of(task)
    outermost = coroutine.cr_frame if type(coroutine) is CoroutineType else None
    if outermost is None:
        return None
    for thread, innermost in _innermost().items():
        frames = _down_to(innermost, outermost)
        if frames is not None:
            return thread, frames
    return None


def _down_to(innermost: FrameType, outermost: FrameType) -> list[FrameType] | None:
    frames: list[FrameType] = []
    frame: FrameType | None = innermost
    while frame is not None:
        frames.append(frame)
        if frame is outermost:
            return frames
        frame = frame.f_back
    return None


def _callback(thread: int, below: CodeType) -> list[FrameType] | None:
    """Return the frames of a callback that runs in a thread, the innermost first.

    None, if there is none, but the loop does not rest either.
    """
    innermost = _innermost().get(thread)
    frames: list[FrameType] = []
    frame = innermost
    while frame is not None and frame.f_code is not below:
        frames.append(frame)
        frame = frame.f_back
    if innermost is None:
        return None
    if frame is None:  # asyncio's own code, between two callbacks
        return [] if innermost.f_code.co_name in _POLLS else None
    if not frames and below.co_qualname == "Handle._run":  # asyncio; a callback in C
        return [frame]
    return frames


def _culprit(thread: int, frames: list[FrameType], stamp: Stamp) -> Culprit:
    place = min(frames, key=_owner)  # the first of equals, which is the innermost
    code = place.f_code
    flat: list[CodeType | int] = []
    for frame in reversed(frames[:MOST_FRAMES]):
        flat += (frame.f_code, max(frame.f_lasti, 0))
    return Culprit(
        (code.co_filename, place.f_lineno or code.co_firstlineno, code.co_qualname),
        tuple(flat),
        thread,
        next((each.name for each in threads() if each.ident == thread), ""),
        any(frame.f_globals.get("__name__") == _LOGGING for frame in frames),
        stamp,
    )


def _owner(frame: FrameType) -> Owner:
    return owner_of(frame.f_code.co_filename)
