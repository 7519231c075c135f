"""What can be asked of a TaskLog about the tasks that are alive.

From any thread, while their loops run on: long answers are made in slices, between
which other threads run. Nothing of the application's is called.
"""

from __future__ import annotations

import asyncio
import dataclasses
import math
import time
from itertools import islice
from typing import TYPE_CHECKING, Final, TypeVar, get_args
from weakref import ref

from otel_tasklog._config import check_names
from otel_tasklog._errors import ConfigError, TaskNotFoundError
from otel_tasklog._find import Finder, FoundTask
from otel_tasklog.capture._record import TIMESTAMP_NS, TaskRecord
from otel_tasklog.live._slices import in_slices
from otel_tasklog.live._tasks import (
    BY_RECORDS,
    Order,
    Rows,
    by_number,
    described,
    is_waiting,
    look,
    number_of,
)
from otel_tasklog.live._tree import (
    Branches,
    awaited_by_each,
    made_by_each,
    placed,
    places,
    waiters_of,
)
from otel_tasklog.live._waits import named
from otel_tasklog.live._why import TaskReport, has_lost_waker, span_of, stack_of
from otel_tasklog.store._query import Query
from otel_tasklog.store._search import Found, check_count
from otel_tasklog.store._summaries import Within
from otel_tasklog.store._tallies import add_up, tallied

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from typing import Any, Unpack

    from otel_tasklog._find import Meaning
    from otel_tasklog.capture._port import Port
    from otel_tasklog.live._tasks import LiveTask, Said, Seen
    from otel_tasklog.live._tree import TaskPlace
    from otel_tasklog.live._waits import AwaitedTask
    from otel_tasklog.store._memory import Ring

__all__ = ["Listing", "LiveReader"]

T = TypeVar("T")

TIMEOUT_SECONDS: Final = 5.0
"""A question is given up after so long, unless the asker says otherwise."""

MOST_NAMED: Final = 20
"""Of more tasks only so many are named."""


class Listing(Found[T]):
    """What was found, of which the first are in the list.

    Args:
        found: The first of it.
        total: See below.
        complete: See `Found`.

    Attributes:
        total: How many there are, listed or not.
    """

    def __init__(self, found: Iterable[T], *, total: int, complete: bool) -> None:
        super().__init__(found, complete=complete)
        self.total = total


class LiveReader:
    """Answers about live tasks; see `Reader`."""

    port: Port
    _ring: Ring

    def live_tasks(
        self, search: str = "", /, *, loop: asyncio.AbstractEventLoop | None = None,
        waiting: bool = False, silent_seconds: float | None = None,
        sort: Order = "number", limit: int | None = 200,
        timeout_seconds: float = TIMEOUT_SECONDS, **filters: Unpack[Within],
    ) -> Listing[LiveTask]:  # fmt: skip
        """Return the asyncio tasks that are not done, also those that never logged.

        Args:
            search: As for `query`. With it, or a filter, only tasks of which a record
                matches are returned, and what they say of their records is of those.
            loop: Whose tasks; None for all loops in which a task logged or opened a
                scope, and for the one that this is called in.
            waiting: Whether to leave out those that run, or wait for their turn alone.
            silent_seconds: Only those without such a record in the last so many
                seconds.
            sort: Which come first: ``"number"``, those that have theirs for the
                longest; ``"name"``; ``"records"``, those with the most; ``"worst"``,
                with the highest level; ``"silent"``, whose last record is the oldest.
            limit: How many at most; None for all.
            timeout_seconds: As for `query`, for the search.
            **filters: As for `query`, but for ``limit`` and ``newest_first``.

        Raises:
            ConfigError: As `query`, or an argument cannot have its value.
        """
        _check("sort", sort, get_args(Order))
        bound_ns = _bound_ns(silent_seconds)
        check_names(filters, Within.__annotations__)
        query = Query.parse(search, **filters, limit=limit, newest_first=False)
        found = self._ring.search(query, timeout_seconds)
        alive, complete = look(loop)
        matching = bool(search.strip()) or any(v is not None for v in filters.values())
        rows = Rows.of(alive)

        def tell(numbers: Iterable[int]) -> Mapping[int, Said]:
            return add_up(tallied(found) if matching else self._ring.tallied(), numbers)

        def is_wanted(seen: Seen, number: int) -> bool:
            own = said.get(number)
            if own is None:
                if matching:
                    return False
            elif own[2][TIMESTAMP_NS] >= bound_ns:
                return False
            return not waiting or is_waiting(seen)

        # Of all that is alive, only if it says who is listed.
        tells = matching or silent_seconds is not None or sort in BY_RECORDS
        said: Mapping[int, Said] = tell(rows.numbers) if tells else {}
        if matching or silent_seconds is not None or waiting:
            rows = rows.only(is_wanted)
        ordered = in_slices(rows.in_order(sort, said))
        listed: list[LiveTask] = []
        room = limit
        while places := list(islice(ordered, room)):  # again if some end meanwhile
            if not tells:
                said = tell([rows.numbers[at] for at in places])
            for at in in_slices(places):
                own = said.get(rows.numbers[at])
                task = described(rows.seen[at], own, self.port.clean)
                listed += [task] if task is not None else ()
            room = None if limit is None else limit - len(listed)
        return Listing(
            listed,
            total=_total(len(listed), len(rows.seen), limit),
            complete=complete and found.complete,
        )

    def task_tree(
        self, by: Branches = "waits", *, loop: asyncio.AbstractEventLoop | None = None,
        limit: int | None = 1_000,
    ) -> Listing[TaskPlace]:  # fmt: skip
        """Return the live tasks as a tree: who waits for whom, or who made whom.

        Args:
            by: What is below a task: ``"waits"``, those that it waits for, or
                ``"parents"``, those that it made. The latter is known of tasks alone
                that have a number, as their parents have: that have logged, or opened
                a scope.
            loop: As for `live_tasks`.
            limit: How many places at most; None for all.

        Returns:
            Each followed by those that are below it, of which ``depth`` is one more.

        Raises:
            ConfigError: An argument cannot have its value.
        """
        _check("by", by, get_args(Branches))
        if limit is not None:
            check_count("limit", limit, least=0)
        alive, complete = look(loop)
        ordered = by_number(alive)
        below = awaited_by_each(ordered) if by == "waits" else made_by_each(ordered)
        listed: list[TaskPlace] = []
        count = 0
        for depth, at, again in in_slices(places(len(ordered), below)):
            count += 1
            if limit is None or len(listed) < limit:
                place = placed(depth, again, ordered[at], self.port.clean)
                listed += [place] if place is not None else ()
        return Listing(
            listed, total=_total(len(listed), count, limit), complete=complete
        )

    def find_task(
        self, task: int | str, *, loop: asyncio.AbstractEventLoop | None = None
    ) -> FoundTask:
        """Return what a word means, and which records are its own.

        In this order: ``"#4"``, the task of that number, also if it has ended; a job's
        id; the name of asyncio tasks; ``id(task)`` of a live task, as aiomonitor's
        ``ps`` shows it; a number without its ``#``; the 32 hexadecimal digits of a
        trace.

        Args:
            task: The word; or the number of a task.
            loop: Where to look for live tasks; as for `live_tasks`.

        Raises:
            TaskNotFoundError: It means nothing. So does the Task ID of a task that is
                done: another one may have it by now.
            ConfigError: It is neither a text nor a number.
        """
        alive, _ = look(loop)
        found = Finder(self._ring, alive, self.port.clean).find(task)
        live = tuple(islice(self._named(by_number(found.tasks)), MOST_NAMED))
        return FoundTask(what=found.what, where=found.where, live=live, hint=found.hint)

    def why(
        self, task: int | str | asyncio.Task[Any], *,
        loop: asyncio.AbstractEventLoop | None = None, records: int = 10,
    ) -> TaskReport:  # fmt: skip
        """Return what a live task is doing, and what keeps it from going on.

        Args:
            task: The task; or a word for it, as for `find_task`. Of several that it
                means, the one that has its number for the longest.
            loop: As for `live_tasks`.
            records: How many of its newest records at most.

        Raises:
            TaskNotFoundError: It means nothing, or no task that is alive.
            ConfigError: An argument cannot have its value.
        """
        check_count("records", records, least=0)
        if isinstance(task, asyncio.Task):
            loop = task.get_loop()
        alive, _ = look(loop)
        found = self._meant(task, alive)
        ordered = by_number(found.tasks)
        for place, seen in enumerate(ordered):
            report = self._report(seen, alive, records)
            if report is not None:
                also = [*ordered[place + 1 :], *found.also]
                others = islice(self._named(also), MOST_NAMED)
                return dataclasses.replace(report, others=tuple(others))
        hint = f"; {found.hint}" if found.hint else ""
        raise TaskNotFoundError(
            f"no live task: {found.what}; its records may still be in memory{hint}"
        )

    def _meant(self, task: int | str | asyncio.Task[Any], alive: list[Seen]) -> Meaning:
        finder = Finder(self._ring, alive, self.port.clean)
        if isinstance(task, asyncio.Task):
            return finder.of_task(ref(task))
        return finder.find(task)

    def _report(self, seen: Seen, alive: list[Seen], records: int) -> TaskReport | None:
        number, own = number_of(seen), None
        newest: list[TaskRecord] = []
        if number is not None:
            own = add_up(self._ring.tallied(), [number]).get(number)
            newest = self._ring.select(Query(asyncio_task=number, limit=records))
        waiters = self._named(waiters_of(seen, alive))
        live = described(seen, own, self.port.clean)
        task = seen()
        if live is None or task is None:
            return None
        trace_id, span_id = span_of(task, TaskRecord(own[2]) if own else None)
        return TaskReport(
            task=live,
            stack=stack_of(task),
            awaited_by=tuple(islice(waiters, MOST_NAMED)),
            records=tuple(reversed(newest)),
            trace_id=trace_id,
            span_id=span_id,
            lost_waker=has_lost_waker(task),
            others=(),
        )

    def _named(self, tasks: Iterable[Seen]) -> Iterator[AwaitedTask]:
        for seen in tasks:
            task = seen()
            if task is not None:
                yield named(task, self.port.clean)
            del task


def _bound_ns(silent_seconds: object) -> float:
    """Return the time from which on a record is one of the last so many seconds."""
    if silent_seconds is None:
        return math.inf
    if not isinstance(silent_seconds, int | float) or not silent_seconds > 0:
        raise ConfigError("silent_seconds", silent_seconds, "a number above 0, or None")
    return time.time_ns() - silent_seconds * 1e9


def _total(listed: int, there: int, limit: int | None) -> int:
    """Return how many there are: without those that ended while they were listed."""
    return there if listed == limit else listed


def _check(setting: str, value: object, known: Sequence[str]) -> None:
    if value not in known:
        raise ConfigError(setting, value, f"one of {', '.join(map(repr, known))}")
