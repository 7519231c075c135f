"""The asyncio tasks that are alive, and what is known of each.

There may be ten thousand of them, so they are looked at in slices. Between two the
loops run on, and a task may end: meanwhile none is referred to but weakly. Otherwise
it would be freed, and an exception of it that nobody retrieved be reported, on the
thread that looks.

Nothing is made for each of them that Python's garbage collector keeps a list of. Ten
thousand such objects at every question would have it go through all of the process,
again and again, and nobody else runs meanwhile.
"""

from __future__ import annotations

import asyncio
import dataclasses
import heapq
import math
import re
import sys
from functools import partial
from types import AsyncGeneratorType, CoroutineType, GeneratorType
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias, TypeVar

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
from otel_tasklog.live._links import links_to
from otel_tasklog.live._slices import in_pieces, in_slices, rest
from otel_tasklog.live._waits import all_tasks, wait_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from weakref import ref

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.capture._tasks import TaskCell
    from otel_tasklog.live._await_chain import Task
    from otel_tasklog.live._waits import TaskWait

__all__ = [
    "BY_RECORDS",
    "LiveTask",
    "Order",
    "Rows",
    "Said",
    "Seen",
    "by_number",
    "coroutine_name",
    "described",
    "is_waiting",
    "look",
    "number_of",
]

T = TypeVar("T")
U = TypeVar("U")

Order: TypeAlias = Literal["number", "name", "records", "worst", "silent"]
"""How live tasks are sorted: by number, which is by age; by name; those with the most
records, with the worst of them, or silent for the longest first."""

Clean: TypeAlias = "Callable[[str], str]"
"""Makes of a name what records have."""

UNNUMBERED: Final = sys.maxsize
"""Stands for the number of a task without one, after all others."""

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


Seen: TypeAlias = "ref[Task]"
"""A task that was alive when it was looked for."""


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
        seen += links_to(found)
        del found
        rest()  # in so many steps that asyncio takes, nobody else can be let in
    return seen, complete


def number_of(seen: Seen) -> int | None:
    """Return a task's number, if it has one, and the task is still there."""
    task = seen()
    cell = known_cell(task) if task is not None else None
    return cell.number if cell is not None else None


def _loops() -> tuple[list[asyncio.AbstractEventLoop], bool]:
    loops, complete = seen_loops()
    try:
        running = asyncio.get_running_loop()
    except RuntimeError:
        return loops, complete
    return loops if running in loops else [*loops, running], complete


def is_waiting(seen: Seen) -> bool:
    """Return whether a task waits for more than its turn."""
    task = seen()
    return task is not None and bool(is_pending(waiter_of(task)))


def coroutine_name(task: Task) -> str:
    """Return the qualified name of a task's coroutine, or of its class."""
    coroutine = coroutine_of(task)
    # Of another, the attribute could be a program of the application's.
    if isinstance(coroutine, _NAMED):
        return coroutine.__qualname__
    return class_name(type(coroutine))


def described(seen: Seen, said: Said | None, clean: Clean) -> LiveTask | None:
    """Return what is known of a task, or None if it is done."""
    task = seen()
    if task is None or not is_pending(task):
        return None
    cell = known_cell(task)
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


class Rows:
    """Live tasks and their numbers, side by side.

    Args:
        seen: The tasks.
        numbers: Their numbers, or `UNNUMBERED`.

    Attributes:
        seen: The tasks.
        numbers: Theirs.
    """

    def __init__(self, seen: Sequence[Seen], numbers: Sequence[int]) -> None:
        self.seen = seen
        self.numbers = numbers

    @classmethod
    def of(cls, seen: Sequence[Seen]) -> Rows:
        """Look up the numbers of some tasks."""
        return cls(seen, _all_of(_numbers, seen))

    def only(self, test: Callable[[Seen, int], bool]) -> Rows:
        """Return those of which a test is true: of the task, and its number."""
        seen: list[Seen] = []
        numbers: list[int] = []
        for at in in_slices(range(len(self.seen))):
            if test(self.seen[at], self.numbers[at]):
                seen.append(self.seen[at])
                numbers.append(self.numbers[at])
        return Rows(seen, numbers)

    def in_order(self, order: Order, said: Mapping[int, Said]) -> Iterator[int]:
        """Yield the places of the tasks in an order; ties are by number.

        Args:
            order: Which. By number, those without one are the last, by name.
            said: What the records say of each, if the order is by that.
        """
        first, then = self._keys(order, said)

        def key(at: int) -> tuple[Any, Any]:
            return first[at], then[at]

        parts = [sorted(piece, key=key) for piece in in_pieces(range(len(first)))]
        return heapq.merge(*parts, key=key)

    def _keys(
        self, order: Order, said: Mapping[int, Said]
    ) -> tuple[Sequence[Any], Sequence[Any]]:
        """Return what the tasks are sorted by first, and what then.

        Each looked up once: one of a task that ends meanwhile would be another.
        """
        if order == "number":
            return self.numbers, _all_of(self._other_names, range(len(self.seen)))
        if order == "name":
            return _all_of(partial(map, _sortable_name), self.seen), self.numbers
        of = BY_RECORDS[order]

        def keys(numbers: Sequence[int]) -> list[float]:
            return [of(said.get(number)) for number in numbers]

        return _all_of(keys, self.numbers), self.numbers

    def _other_names(self, places: Sequence[int]) -> list[str]:
        """Return the names of those without a number; empty for the others."""
        return [
            _sortable_name(self.seen[at]) if self.numbers[at] == UNNUMBERED else ""
            for at in places
        ]


def by_number(seen: Sequence[Seen]) -> list[Seen]:
    """Return tasks in the order of their numbers, and those without one by name."""
    return [seen[at] for at in in_slices(Rows.of(seen).in_order("number", {}))]


def _numbers(seen: Sequence[Seen]) -> list[int]:
    return [
        cell.number
        if (task := link()) is not None and (cell := known_cell(task)) is not None
        else UNNUMBERED
        for link in seen
    ]


def _most_records(said: Said | None) -> float:
    return -said[0] if said is not None else 0


def _worst(said: Said | None) -> float:
    return -said[1][ORIGIN][_LEVEL] if said is not None else math.inf


def _newest_ns(said: Said | None) -> float:
    return said[2][TIMESTAMP_NS] if said is not None else math.inf


BY_RECORDS: Final[Mapping[str, Callable[[Said | None], float]]] = {
    "records": _most_records,
    "worst": _worst,
    "silent": _newest_ns,
}
"""The orders that are by what records say, and what a task is sorted by."""


def _sortable_name(seen: Seen) -> str:
    """Return a name in which all numbers are of one length, so that 9 is before 10."""
    task = seen()
    if task is None:
        return ""
    return _DIGITS.sub(lambda digits: digits[0].rjust(20, "0"), name_of(task))


def _all_of(of: Callable[[Sequence[T]], Iterable[U]], items: Sequence[T]) -> list[U]:
    """Return what a function makes of all items, some of which it is given at once."""
    made: list[U] = []
    for piece in in_pieces(items):
        made += of(piece)
    return made
