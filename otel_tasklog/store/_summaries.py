"""What many records say together: by task, and by when they were logged."""

from __future__ import annotations

import dataclasses
import math
from collections import Counter, defaultdict
from heapq import nsmallest
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import (
    KEYS,
    MESSAGE,
    ORIGIN,
    REST,
    SEQUENCE,
    TIMESTAMP_NS,
    VALUES,
    WHO,
    Origin,
    Rest,
    Sealed,
    Who,
)
from otel_tasklog.store._query import Conditions, Moment
from otel_tasklog.store._search import Found

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Collection,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from otel_tasklog.live._waits import TaskWait
    from otel_tasklog.store._search import Search

__all__ = ["Bucket", "Counts", "TaskSummary", "Within", "count", "summarize"]

MOST_BUCKETS: Final = 10_000

_LOGGER: Final = Origin._fields.index("logger")
_LEVEL: Final = Origin._fields.index("level")
_LEVEL_NAME: Final = Origin._fields.index("severity_text")
_TASK_ID: Final = Who._fields.index("task_id")
_EXCEPTION: Final = Rest._fields.index("exception_type")

_Key: TypeAlias = "str | tuple[int, str]"
"""What is counted: a text; or a level, its number and its name."""


class Alive(Protocol):
    """Who is alive; see `Live`."""

    def any_of(self, job: str, numbers: Collection[int]) -> bool | None:
        """Return whether one of some asyncio tasks is at a job, None if not known."""

    def wait_of(self, job: str, numbers: Iterable[int]) -> TaskWait | None:
        """Return what the first of some asyncio tasks that is at a job waits on."""


class Within(Conditions, total=False):
    """The keywords of a summary; `Query` says what each means."""

    until: Moment | None
    before: int | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class TaskSummary:
    """One job, as the records say that were asked for.

    Attributes:
        task_id: The job's id.
        task_parent_id: The id of the job around it, or None.
        asyncio_task_numbers: The asyncio tasks that logged in it, ascending.
        asyncio_task_names: Their names, sorted.
        first_ns: When the first of the records was logged, since the epoch.
        last_ns: When the last was.
        duration_seconds: From the first to the last.
        records: How many there are.
        levels: How many of each level, by its name, the highest first.
        worst_level: The name of the highest.
        exceptions: How many with an exception of each type, the most frequent first.
        last_message: The text of the last record.
        alive: Whether one of its asyncio tasks is not done, and has not left it: one
            that opens scopes is at those jobs alone. None if that is not known: none
            of them logged.
        waits_on: What that asyncio task waits on; of several, the one that logged
            last. None if there is none, or if that cannot be told.
    """

    task_id: str
    task_parent_id: str | None
    asyncio_task_numbers: tuple[int, ...]
    asyncio_task_names: tuple[str, ...]
    first_ns: int
    last_ns: int
    duration_seconds: float
    records: int
    levels: Mapping[str, int]
    worst_level: str
    exceptions: Mapping[str, int]
    last_message: str
    alive: bool | None
    waits_on: TaskWait | None


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Bucket:
    """How many records were logged within one stretch of time.

    Attributes:
        start_ns: Where it begins, since the epoch.
        total: How many.
        counts: How many of each.
    """

    start_ns: int
    total: int
    counts: Mapping[str, int]


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Counts:
    """How many records there are, of what, and when.

    Attributes:
        by: What they are counted by.
        total: How many there are, those included that have no such thing.
        distinct: How many different things there are, whether listed or not.
        counts: How many of each that is listed: levels from the highest down, others
            from the most frequent.
        bucket_seconds: How long a bucket is, or None.
        buckets: The same within each stretch of time, oldest first, from the first
            record to the last. Each starts at a multiple of its length since the
            epoch.
        complete: False if the time was up before all of memory had been looked at.
    """

    by: str
    total: int
    distinct: int
    counts: Mapping[str, int]
    bucket_seconds: float | None
    buckets: Sequence[Bucket]
    complete: bool


class _Job:
    """What the records of one job say, added up."""

    def __init__(self, record: Sealed) -> None:
        self.first = self.last = record
        self.task_id: str = record[WHO][_TASK_ID]
        self.parent: tuple[int, str | None] = (-1, None)
        self.levels: Counter[_Key] = Counter()
        self.exceptions: Counter[_Key] = Counter()
        # The number of each asyncio task, and the sequence of the last that it logged.
        self.tasks: dict[int, int] = {}
        self.names: set[str] = set()

    def add(self, record: Sealed) -> None:
        sequence, origin = record[SEQUENCE], record[ORIGIN]
        _, parent_id, number, name, _ = record[WHO]
        if sequence < self.first[SEQUENCE]:
            self.first = record
        elif sequence > self.last[SEQUENCE]:
            self.last = record
        if parent_id is not None and sequence > self.parent[0]:
            self.parent = sequence, parent_id
        if number is not None:
            self.names.add(name)
            if sequence > self.tasks.get(number, -1):
                self.tasks[number] = sequence
        self.levels[origin[_LEVEL], origin[_LEVEL_NAME]] += 1
        exception = record[REST][_EXCEPTION]
        if exception is not None:
            self.exceptions[exception] += 1

    def summary(self, live: Alive) -> TaskSummary:
        first_ns, last_ns = self.first[TIMESTAMP_NS], self.last[TIMESTAMP_NS]
        levels = _in_order(self.levels)
        newest_first = sorted(self.tasks, key=self.tasks.__getitem__, reverse=True)
        return TaskSummary(
            task_id=self.task_id,
            task_parent_id=self.parent[1],
            asyncio_task_numbers=tuple(sorted(self.tasks)),
            asyncio_task_names=tuple(sorted(self.names)),
            first_ns=first_ns,
            last_ns=last_ns,
            # A clock may have been set back.
            duration_seconds=max(last_ns - first_ns, 0) / 1e9,
            records=self.levels.total(),
            levels=_named(levels, self.levels),
            worst_level=_text(levels[0]),
            exceptions=_named(_in_order(self.exceptions), self.exceptions),
            last_message=self.last[MESSAGE],
            alive=live.any_of(self.task_id, newest_first),
            waits_on=live.wait_of(self.task_id, newest_first),
        )


def summarize(
    search: Search,
    look: Callable[[Collection[int]], Alive],
    limit: int | None,
    *,
    alive: bool = False,
) -> Found[TaskSummary]:
    """Return a summary of each job, the one that logged last first.

    Args:
        search: The records.
        look: Returns who of some asyncio tasks, given by number, is alive.
        limit: How many jobs at most; None for all.
        alive: Whether to leave out those that are not.
    """
    jobs: dict[str, _Job] = {}
    for part in search:
        for record in part:
            task_id = record[WHO][_TASK_ID]
            if task_id is not None:
                job = jobs.get(task_id)
                if job is None:
                    job = jobs[task_id] = _Job(record)
                job.add(record)
    ordered = sorted(jobs.values(), key=lambda job: job.last[SEQUENCE], reverse=True)
    wanted = ordered if alive else ordered[:limit]
    live = look({number for job in wanted for number in job.tasks})
    if alive:
        wanted = [job for job in wanted if live.any_of(job.task_id, job.tasks)][:limit]
    summaries = (job.summary(live) for job in wanted)
    return Found(summaries, complete=search.complete)


def count(
    search: Search, by: str, bucket_seconds: float | None, limit: int | None
) -> Counts:
    """Return how many records there are; see `Reader.counts`.

    Raises:
        ConfigError: They cannot be counted so.
    """
    key, width_ns = _key_of(by), _width_ns(bucket_seconds)
    total = 0
    whole: Counter[_Key] = Counter()
    apart: defaultdict[int, Counter[_Key | None]] = defaultdict(Counter)
    for part in search:
        keys = [key(record) for record in part]
        total += len(part)
        whole.update([each for each in keys if each is not None])
        if width_ns is not None:
            for record, each in zip(part, keys, strict=True):
                apart[record[TIMESTAMP_NS] // width_ns][each] += 1
    listed = _in_order(whole, limit)
    return Counts(
        by=by,
        total=total,
        distinct=len(whole),
        counts=_named(listed, whole),
        bucket_seconds=bucket_seconds,
        buckets=tuple(_buckets(apart, width_ns, listed)) if width_ns and apart else (),
        complete=search.complete,
    )


def _buckets(
    apart: Mapping[int, Counter[_Key | None]], width_ns: int, listed: Sequence[_Key]
) -> Iterator[Bucket]:
    first, last = min(apart), max(apart)
    if last - first >= MOST_BUCKETS:
        least = (last - first + 1) * width_ns / 1e9 / (MOST_BUCKETS - 1)
        least *= 1.01  # which is more than the text rounds off
        raise ConfigError(
            "bucket_seconds",
            width_ns / 1e9,
            f"at least {least:.3g} for these records: there are {MOST_BUCKETS:,} "
            "buckets at most; or less of the time, by since= and until=",
        )
    rank = {key: place for place, key in enumerate(listed)}
    for at in range(first, last + 1):
        own = apart.get(at, Counter())
        keys = [key for key in own if key is not None and key in rank]
        counts = _named(sorted(keys, key=rank.__getitem__), own)
        yield Bucket(start_ns=at * width_ns, total=own.total(), counts=counts)


def _width_ns(bucket_seconds: object) -> int | None:
    if bucket_seconds is None:
        return None
    if (
        isinstance(bucket_seconds, int | float)
        and math.isfinite(bucket_seconds)
        and (width_ns := round(bucket_seconds * 1e9)) > 0
    ):
        return width_ns
    raise ConfigError("bucket_seconds", bucket_seconds, "a number above 0, or None")


def _key_of(by: object) -> Callable[[Sealed], _Key | None]:
    if isinstance(by, str):
        if by in _KEYS:
            return _KEYS[by]
        if by.startswith("@") and len(by) > 1:
            return _attribute(by[1:])
    names = ", ".join(map(repr, _KEYS))
    raise ConfigError("by", by, f"{names}, or an attribute's name as in '@order_id'")


def _attribute(name: str) -> Callable[[Sealed], _Key | None]:
    def key(record: Sealed) -> _Key | None:
        keys = record[KEYS]
        return str(record[VALUES][keys.index(name)]) if name in keys else None

    return key


_KEYS: Final[Mapping[str, Callable[[Sealed], _Key | None]]] = {
    "level": lambda r: (r[ORIGIN][_LEVEL], r[ORIGIN][_LEVEL_NAME]),
    "logger": lambda r: r[ORIGIN][_LOGGER],
    "task_id": lambda r: r[WHO][_TASK_ID],
    "exception": lambda r: r[REST][_EXCEPTION],
}


def _text(key: _Key) -> str:
    return key if isinstance(key, str) else key[1]


def _in_order(counted: Mapping[_Key, int], limit: int | None = None) -> list[_Key]:
    """Return the first levels from the highest down, others from the most frequent."""

    def order(key: _Key) -> tuple[int, str]:
        return (-counted[key], key) if isinstance(key, str) else (-key[0], key[1])

    if limit is None:
        return sorted(counted, key=order)
    return nsmallest(limit, counted, key=order)


def _named(keys: Iterable[_Key], counted: Mapping[Any, int]) -> dict[str, int]:
    numbers: dict[str, int] = {}
    for key in keys:  # two levels may have one name
        numbers[_text(key)] = numbers.get(_text(key), 0) + counted[key]
    return numbers
