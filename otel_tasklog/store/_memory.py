"""The ring: the newest records, in memory.

Finished records stand in chunks, oldest first, which the worker alone appends to and
trims. What refers to them is trimmed together with them, so that nothing outlives
its eviction: the records of each task, those that are a warning or worse, and which
job is nested in which. So one task's log, and the errors among a hundred thousand
records, are found in microseconds. A text is looked for in all messages of a full
chunk at once, joined when it was first asked for.

Guarantees: one writer, the worker. Readers take no lock, so a query can neither
wait for the logger nor make it wait; they copy short lists, each in one step of the
interpreter, and look at the copies. What the worker has not reached yet is asked
from *unfinished* before the chunks are read, never after: a record that is
finished meanwhile is then seen twice, and the second is left out, instead of
not at all.
"""

from __future__ import annotations

import logging
import math
import sys
from collections import Counter, defaultdict, deque
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, WHO, TaskRecord
from otel_tasklog.store._chunks import (
    CHUNK_RECORDS,
    Chunk,
    parts_of,
    put,
    put_by_task,
    trim,
)
from otel_tasklog.store._search import Found, Search, neighbours
from otel_tasklog.store._tallies import tallied, tally

if TYPE_CHECKING:
    from collections.abc import (
        Callable,
        Container,
        Iterable,
        Iterator,
        Mapping,
        Sequence,
    )

    from otel_tasklog.capture._record import Captured, Sealed
    from otel_tasklog.store._chunks import Pile
    from otel_tasklog.store._query import Query
    from otel_tasklog.store._tallies import Tally

__all__ = ["Ring"]

_sequence: Final = itemgetter(SEQUENCE)

NOTABLE: Final = logging.WARNING
"""Records from this level on have an index; below it, most of them match."""

FINISHED_RECORDS: Final = 16
"""So many of those that wait are finished for a query at once."""


class Ring:
    """Keeps the newest records, bounded by number and by bytes.

    Args:
        records: How many at most.
        size_bytes: How many bytes at most, by the sizes that `keep` is given.
        unfinished: Returns the records that the worker has not reached yet.
        finish: Returns the finished form of some of them.
    """

    def __init__(
        self,
        *,
        records: int,
        size_bytes: int,
        unfinished: Callable[[], Sequence[Captured]],
        finish: Callable[[Sequence[Captured]], Sequence[Sealed]],
    ) -> None:
        self.max_records = records
        self._max_bytes = size_bytes
        self._unfinished = unfinished
        self._finish = finish
        self.evicted = 0
        self.nestings_changed = 0
        self.clear()

    def clear(self) -> None:
        """Forget the finished records. Only while the worker is kept from `keep`."""
        self._chunks: deque[Chunk] = deque()
        self._by_task: defaultdict[str | None, Pile] = defaultdict(list)
        self._notable: Pile = []
        # By a job and one nested in it: how many records say so.
        self._nested: dict[str, dict[str, int]] = {}
        self.nestings_changed += 1
        self.kept = self.kept_bytes = 0

    def keep(self, batch: Sequence[Sealed], sizes: Sequence[int]) -> None:
        """Add finished records. On the worker's thread only."""
        if put_by_task(self._by_task, batch):
            self._count_nested(batch, 1)
        highest = max([record[ORIGIN][1] for record in batch], default=0)
        if highest >= NOTABLE:
            put(self._notable, [r for r in batch if r[ORIGIN][1] >= NOTABLE])
        start = 0
        while start < len(batch):
            if not self._chunks or len(self._chunks[-1].records) >= CHUNK_RECORDS:
                self._chunks.append(Chunk())
            chunk = self._chunks[-1]
            end = start + CHUNK_RECORDS - len(chunk.records)
            # Before the records: a reader skips the chunk by it.
            chunk.highest = max(chunk.highest, highest)
            chunk.sizes.extend(sizes[start:end])
            chunk.records += batch[start:end]
            start = end
        self.kept += len(batch)
        self.kept_bytes += sum(sizes)
        while self.kept > self.max_records or self.kept_bytes > self._max_bytes:
            self._evict()

    def _evict(self) -> None:
        """Drop as much of the oldest chunk as the bounds ask for."""
        oldest = self._chunks[0]
        surplus = self.kept - self.max_records
        excess = self.kept_bytes - self._max_bytes
        count = max(surplus, 0)
        size = sum(oldest.sizes[:count])
        for each in oldest.sizes[count:]:
            if size >= excess:
                break
            count += 1
            size += each
        evicted = oldest.records[:count]
        for task_id, own in Counter([record[WHO][0] for record in evicted]).items():
            pile = self._by_task[task_id]
            trim(pile, own)
            if not pile:
                del self._by_task[task_id]
        if self._nested:
            self._count_nested(evicted, -1)
        if oldest.highest >= NOTABLE:
            trim(self._notable, sum(r[ORIGIN][1] >= NOTABLE for r in evicted))
        del oldest.records[:count]
        del oldest.sizes[:count]
        if not oldest.records:
            self._chunks.popleft()
        self.kept -= len(evicted)
        self.kept_bytes -= size
        self.evicted += len(evicted)

    def _count_nested(self, records: Iterable[Sealed], sign: int) -> None:
        for (task_id, parent_id), count in _nestings(records).items():
            children = self._nested.setdefault(parent_id, {})
            counted = children.get(task_id, 0)
            children[task_id] = counted + sign * count
            if not children[task_id]:
                del children[task_id]
                if not children:
                    del self._nested[parent_id]
            if not counted or counted == -sign * count:
                self.nestings_changed += 1

    def family(self, task_id: str, waiting: Iterable[Sealed] = ()) -> frozenset[str]:
        """Return the ids of a job and of all that are nested in it, at any depth.

        As the records say that are kept: a job between two others of which none is
        kept any more breaks the chain. From any thread.

        Args:
            task_id: Which job.
            waiting: Records that are not kept yet and count all the same.
        """
        also: dict[str, list[str]] = {}
        for child, parent_id in _nestings(waiting):
            also.setdefault(parent_id, []).append(child)
        found, unseen = {task_id}, [task_id]
        while unseen:
            parent_id = unseen.pop()
            inner = {*list(self._nested.get(parent_id, ())), *also.get(parent_id, ())}
            unseen += inner - found
            found |= inner
        return frozenset(found)

    def live_family(self, task_id: str) -> Container[str | None]:
        """Return the same, kept up to date. For the worker's thread."""
        return _Family(self, task_id)

    def search(self, query: Query, timeout_seconds: float = math.inf) -> Search:
        """Begin to look for what a query asks for, as of now. From any thread.

        Raises:
            ConfigError: The query holds a value that cannot mean anything.
        """
        waiting = self._unfinished()[-self.max_records :]
        parts = self._parts(query, waiting, self._pushed_out(len(waiting)))
        tests = query.predicates(lambda job: self.family(job, self._finish(waiting)))
        return Search(parts, tests, timeout_seconds)

    def select(
        self, query: Query, timeout_seconds: float = math.inf
    ) -> Found[TaskRecord]:
        """Return what a query asks for. From any thread, also from within a log call.

        Raises:
            ConfigError: The query holds a value that cannot mean anything.
        """
        found = self.find(query, timeout_seconds)
        return Found(map(TaskRecord, found), complete=found.complete)

    def find(self, query: Query, timeout_seconds: float = math.inf) -> Found[Sealed]:
        """Return the same as it is kept, for who reads it little by little."""
        limit = self.max_records if query.limit is None else query.limit
        search = self.search(query, timeout_seconds)
        found: list[Sealed] = []
        for part in search:
            found += part
            if len(found) >= limit:
                break
        # Threads may have drawn their sequence in another order than they appended.
        search.breathe()
        found.sort(key=_sequence, reverse=query.newest_first)
        search.breathe()
        return Found(found[:limit], complete=search.complete)

    def around(
        self, record: TaskRecord, *, before: int, after: int, same_task: bool
    ) -> list[TaskRecord]:
        """Return a record, if it is kept, and its neighbours, the oldest first."""
        task_id, waiting = record.task_id, self._unfinished()
        if same_task:
            pile = self._by_task.get(task_id, []).copy()
        else:
            pile = [chunk.records for chunk in self._chunks.copy()]

        def later() -> Iterable[Sealed]:
            finished = self._finish(waiting)
            return (r for r in finished if not same_task or r[WHO][0] == task_id)

        found = neighbours(pile, later, record.sequence, before, after)
        return [TaskRecord(each) for each in found]

    def tallied(self) -> Iterator[tuple[Sequence[Sealed], Mapping[int, Tally]]]:
        """Yield all records, in parts, and what each says of each asyncio task.

        Of a full chunk that is known, once it was asked for. From any thread.
        """
        waiting = self._unfinished()[-self.max_records :]
        seen = {captured[SEQUENCE] for captured in waiting}
        pushed_out = self._pushed_out(len(waiting))
        first = min(seen, default=sys.maxsize)
        for chunk in self._chunks.copy():
            known = chunk.tallied(pushed_out, first)
            if known is None:
                newer = [r for r in chunk.records.copy() if r[SEQUENCE] > pushed_out]
                own = [record for record in newer if record[SEQUENCE] not in seen]
                known = own, tally(own)
            yield known
        yield from tallied(self._finished(waiting, newest_first=False))

    def _pushed_out(self, waiting: int) -> int:
        """Return the last sequence that those that wait will evict, or -1."""
        surplus = self.kept + waiting - self.max_records
        if surplus <= 0:
            return -1
        for chunk in self._chunks.copy():
            records = chunk.records.copy()
            if surplus <= len(records):
                sequence: int = records[surplus - 1][SEQUENCE]
                return sequence
            surplus -= len(records)
        return -1

    def _parts(
        self, query: Query, waiting: Sequence[Captured], pushed_out: int
    ) -> Iterator[Sequence[Sealed]]:
        """Yield what may match, in parts in the query's order, some of them empty."""
        if query.newest_first:
            yield from self._finished(waiting, newest_first=True)
        seen = {captured[SEQUENCE] for captured in waiting}
        for part in self._candidates(query):
            own = part
            if seen or pushed_out >= 0:
                own = [
                    record
                    for record in part
                    if record[SEQUENCE] > pushed_out and record[SEQUENCE] not in seen
                ]
            yield own[::-1] if query.newest_first else own
        if not query.newest_first:
            yield from self._finished(waiting, newest_first=False)

    def _finished(
        self, waiting: Sequence[Captured], *, newest_first: bool
    ) -> Iterator[Sequence[Sealed]]:
        starts = range(0, len(waiting), FINISHED_RECORDS)
        for start in reversed(starts) if newest_first else starts:
            part = self._finish(waiting[start : start + FINISHED_RECORDS])
            yield part[::-1] if newest_first else part

    def _candidates(self, query: Query) -> Iterator[list[Sealed]]:
        """Yield copies of lists, in the query's order, oldest first within each."""
        plan, newest_first = query.plan(), query.newest_first
        if plan.task_id is not None:
            own = self._by_task.get(plan.task_id, [])
            yield from parts_of(own, newest_first=newest_first)
            return
        if plan.lowest_level >= NOTABLE:
            yield from parts_of(self._notable, newest_first=newest_first)
            return
        paged = query.after is not None or query.before is not None
        chunks = self._chunks.copy()
        if newest_first:
            chunks.reverse()
        for chunk in chunks:
            if (
                chunk.highest < plan.lowest_level
                or (paged and chunk.is_outside(query.after, query.before))
                or (plan.text and chunk.lacks(plan.text))
            ):
                yield []  # the time is looked at all the same
            else:
                yield chunk.records.copy()


def _nestings(records: Iterable[Sealed]) -> Counter[tuple[str, str]]:
    """Return how many of some records say that a job is nested in another."""
    return Counter([r[WHO][:2] for r in records if r[WHO][1] is not None])


class _Family:
    """The ids of a job and of all nested in it, as a ring knows them at each moment.

    For who looks at records one by one as they come, on the worker's thread.
    """

    def __init__(self, ring: Ring, task_id: str) -> None:
        self._ring = ring
        self._task_id = task_id
        self._known_at = -1
        self._members: frozenset[str] = frozenset()

    def __contains__(self, task_id: object) -> bool:
        if self._known_at != self._ring.nestings_changed:
            self._known_at = self._ring.nestings_changed
            self._members = self._ring.family(self._task_id)
        return task_id in self._members
