"""The asyncio tasks that are alive, and what is known of each.

There may be ten thousand of them, so they are looked at in slices. Between two the
loops run on, and a task may end: meanwhile none is referred to but weakly. Otherwise
it would be freed, and an exception of it that nobody retrieved be reported, on the
thread that looks.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import math
import re
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Final, Literal, TypeAlias
from weakref import ref

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import ORIGIN, TIMESTAMP_NS, Origin, TaskRecord
from otel_tasklog.capture._tasks import known_cell, seen_loops
from otel_tasklog.live._await_chain import (
    class_name,
    coroutine_of,
    is_pending,
    name_of,
    waiter_of,
)
from otel_tasklog.live._slices import in_slices, rest
from otel_tasklog.live._waits import all_tasks, wait_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.capture._tasks import TaskCell
    from otel_tasklog.live._await_chain import Task
    from otel_tasklog.live._waits import TaskWait

__all__ = [
    "LiveTask",
    "Order",
    "Said",
    "Seen",
    "coroutine_name",
    "described",
    "in_order",
    "is_waiting",
    "look",
    "number_of",
]

Order: TypeAlias = Literal["number", "name", "records", "worst", "silent"]
"""How live tasks are sorted: by number, which is by age; by name; those with the most
records, with the worst of them, or silent for the longest first."""

Clean: TypeAlias = "Callable[[str], str]"
"""Makes of a name what records have."""

AT_ONCE: Final = 500
"""So many tasks are looked at, or sorted, in one go, which takes no millisecond."""

_LEVEL: Final = Origin._fields.index("level")
_LEVEL_NAME: Final = Origin._fields.index("severity_text")
_NAMED: Final = (CoroutineType, GeneratorType, AsyncGeneratorType)
_DIGITS: Final = re.compile(r"\d{1,20}")


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class LiveTask:
    """An asyncio task that is not done, and what its records in memory say.

    Attributes:
        number: Its number, or None as long as it has neither logged nor opened a
            scope.
        parent: The number of its nearest ancestor that had one when it was made.
        name: Its name.
        task_id: The job that it is at: the one whose scope it is in, or else that of
            its newest record. None if there is none.
        coroutine: The qualified name of its coroutine.
        address: ``id(task)``, which aiomonitor's ``ps`` prints as Task ID. Another
            task may get it as soon as this one is done.
        wait: What it waits on, or None if that cannot be told.
        numbered_ns: When it got its number, since the epoch: when it first logged or
            opened a scope. None without a number.
        records: How many of its records match, of those in memory.
        worst: The name of the highest level among them, or None.
        last: The newest of them, or None.
    """

    number: int | None
    parent: int | None
    name: str
    task_id: str | None
    coroutine: str
    address: int
    wait: TaskWait | None
    numbered_ns: int | None
    records: int
    worst: str | None
    last: TaskRecord | None


Said: TypeAlias = "tuple[int, Sealed, Sealed]"
"""Of a task's records: how many there are, one of the highest level, the newest."""


Seen: TypeAlias = "tuple[ref[Task], TaskCell | None]"
"""A task that was alive when it was looked for, and its cell, if it has one."""


def look(loop: asyncio.AbstractEventLoop | None = None) -> tuple[list[Seen], bool]:
    """Return the live tasks, and whether those are all. From any thread.

    Numbers are looked up and never drawn: a task draws its own, in its own context,
    when it first logs.

    Args:
        loop: Of which loop; None for each in which a task was numbered, and for the
            one that runs here.

    Raises:
        ConfigError: It is no event loop.
    """
    if loop is not None and not isinstance(loop, asyncio.AbstractEventLoop):
        raise ConfigError("loop", loop, "an asyncio event loop, or None")
    loops, complete = ([loop], True) if loop is not None else _loops()
    seen: list[Seen] = []
    for each in loops:
        found = () if each.is_closed() else all_tasks(each)
        if found is None:
            complete = False
            continue
        links = list(map(ref, found))
        del found
        rest()  # in so many steps that asyncio takes, nobody else can be let in
        for at in in_slices(range(0, len(links), AT_ONCE)):
            seen += _with_cells(links[at : at + AT_ONCE])
    return seen, complete


def _with_cells(links: list[ref[Task]]) -> list[Seen]:
    return [(link, known_cell(task)) for link in links if (task := link()) is not None]


def number_of(seen: Seen) -> int | None:
    """Return a task's number, if it has one."""
    cell = seen[1]
    return None if cell is None else cell.number


def _loops() -> tuple[list[asyncio.AbstractEventLoop], bool]:
    loops, complete = seen_loops()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return loops, complete
    return loops if running in loops else [*loops, running], complete


def is_waiting(task: Task) -> bool:
    """Return whether a task waits for more than its turn."""
    return bool(is_pending(waiter_of(task)))


def coroutine_name(task: Task) -> str:
    """Return the qualified name of a task's coroutine, or of its class."""
    coroutine = coroutine_of(task)
    # Of another, the attribute could be a program of the application's.
    if isinstance(coroutine, _NAMED):
        return coroutine.__qualname__
    return class_name(type(coroutine))


def described(seen: Seen, said: Said | None, clean: Clean) -> LiveTask | None:
    """Return what is known of a task, or None if it is done."""
    link, cell = seen
    task = link()
    if task is None or not is_pending(task):
        return None
    return LiveTask(
        number=cell.number if cell is not None else None,
        parent=cell.parent if cell is not None else None,
        name=clean(name_of(task)),
        task_id=_job_of(cell, said, clean),
        coroutine=coroutine_name(task),
        address=id(task),
        wait=wait_of(task, clean),
        numbered_ns=cell.drawn_ns if cell is not None else None,
        records=said[0] if said is not None else 0,
        worst=said[1][ORIGIN][_LEVEL_NAME] if said is not None else None,
        last=TaskRecord(said[2]) if said is not None else None,
    )


def _job_of(cell: TaskCell | None, said: Said | None, clean: Clean) -> str | None:
    scope = cell.scope if cell is not None else None
    if scope is not None and scope.task_id is not None:
        return clean(scope.task_id)
    if said is None or (cell is not None and cell.opens_scopes):
        return None
    return TaskRecord(said[2]).task_id


_Row: TypeAlias = "tuple[Seen, Said | None]"
_Key: TypeAlias = "tuple[float, str, float]"


def in_order(tasks: Sequence[_Row], order: Order) -> Iterator[_Row]:
    """Yield tasks in an order; ties are by number, and the unnumbered by name."""
    key = _KEYS[order]
    starts = range(0, len(tasks), AT_ONCE)
    parts = [sorted(tasks[at : at + AT_ONCE], key=key) for at in in_slices(starts)]
    yield from in_slices(heapq.merge(*parts, key=key))


def _by_number(row: _Row) -> _Key:
    cell = row[0][1]
    return (0, "", cell.number) if cell is not None else (1, _sortable_name(row), 0)


def _by_name(row: _Row) -> _Key:
    return 0, _sortable_name(row), _number(row)


def _by_records(row: _Row) -> _Key:
    return -row[1][0] if row[1] is not None else 0, "", _number(row)


def _by_worst(row: _Row) -> _Key:
    said = row[1]
    highest = -said[1][ORIGIN][_LEVEL] if said is not None else math.inf
    return highest, "", _number(row)


def _by_silence(row: _Row) -> _Key:
    last_ns = row[1][2][TIMESTAMP_NS] if row[1] is not None else math.inf
    return last_ns, "", _number(row)


def _number(row: _Row) -> float:
    return number_of(row[0]) or math.inf


_KEYS: Final[dict[str, Callable[[_Row], _Key]]] = {
    "number": _by_number,
    "name": _by_name,
    "records": _by_records,
    "worst": _by_worst,
    "silent": _by_silence,
}


def _sortable_name(row: _Row) -> str:
    """Return a name in which all numbers are of one length, so that 9 is before 10."""
    task = row[0][0]()
    if task is None:
        return ""
    return _DIGITS.sub(lambda digits: digits[0].rjust(20, "0"), name_of(task))
