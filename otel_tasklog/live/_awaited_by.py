"""Which tasks wait for one, as asyncio tells of that one."""

from __future__ import annotations

from collections import deque
from types import BuiltinFunctionType
from typing import TYPE_CHECKING, Any, Final, cast

from otel_tasklog.live._await_chain import closed_over, inside, is_task

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog.live._await_chain import Task

__all__ = ["told_to_await"]

_OUTER: Final = {
    "as_completed.<locals>._on_completion": "done",
    "gather.<locals>._done_callback": "outer",
    "shield.<locals>._inner_done_callback": "outer",
}
"""What a future tells when it is done: a queue, or another future."""


def told_to_await(task: Task) -> Iterator[Task]:
    """Yield the tasks that wait for one though they do not tell it themselves.

    Up to Python 3.12 those in ``as_completed()``. From 3.14 on all of which asyncio
    knows: also by what was made in C, or told by ``asyncio.future_add_to_awaited_by()``.
    Its ``capture_call_graph()`` would follow a cycle until the stack is full.
    """
    unseen: list[object] = [task]
    known = {id(task)}
    while unseen:
        for each in _beyond(unseen.pop()):
            if is_task(each):
                yield each
            elif id(each) not in known:  # of several, such as gather()'s
                known.add(id(each))
                unseen.append(each)


def _beyond(awaited: object) -> list[object]:
    """Return what waits for a future, or for a queue of ``as_completed()``."""
    getters: Any = inside(awaited, "_getters")
    if type(getters) is deque:
        futures = cast("deque[object]", getters).copy()
        return [task for future in futures for task in _woken_by(future)]
    known: Any = inside(awaited, "_asyncio_awaited_by")
    return [*(known or ()), *closed_over(awaited, _OUTER)]


def _woken_by(future: object) -> list[object]:
    callbacks: Any = inside(future, "_callbacks")
    return [
        callback.__self__
        for callback, _ in callbacks or ()
        if type(callback) is BuiltinFunctionType and callback.__name__ == "task_wakeup"
    ]
