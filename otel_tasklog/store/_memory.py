"""The ring: the newest records, in memory.

Finished records stand in chunks, oldest first, each chunk a list that only the
worker appends to and trims. A list per task refers to the same records and is
trimmed together with them, so that one task's log is found in microseconds, and
nothing outlives its eviction.

Guarantees: one writer, the worker. Readers take no lock, so a query can neither
wait for the logger nor make it wait; they copy a list, which is one step of the
interpreter, and look at the copy. What the worker has not reached yet is asked
from *unfinished* before the chunks are read, never after: a record that is
finished meanwhile is then seen twice, and the second is left out, instead of
not at all.
"""

from __future__ import annotations

from array import array
from collections import Counter, deque
from itertools import chain, islice
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, WHO, Sealed, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from otel_tasklog.store._query import Query

__all__ = ["Ring"]

CHUNK_RECORDS: Final = 512


class _Chunk:
    """Consecutive records, their sizes, and the highest level among them."""

    __slots__ = ("highest", "records", "sizes")

    def __init__(self) -> None:
        self.records: list[Sealed] = []
        self.sizes = array("q")
        self.highest = 0


class Ring:
    """Keeps the newest records, bounded by number and by bytes.

    Args:
        records: How many at most.
        size_bytes: How many bytes at most, by the sizes that `keep` is given.
        unfinished: Returns the records that the worker has not reached yet.
    """

    def __init__(
        self,
        *,
        records: int,
        size_bytes: int,
        unfinished: Callable[[], Sequence[Sealed]],
    ) -> None:
        self._max_records = records
        self._max_bytes = size_bytes
        self._unfinished = unfinished
        self._chunks: deque[_Chunk] = deque()
        self._by_task: dict[str | None, list[Sealed]] = {}
        self.kept = 0
        self.kept_bytes = 0
        self.evicted = 0

    def keep(self, batch: Iterable[Sealed], sizes: Iterable[int]) -> None:
        """Add finished records. On the worker's thread only."""
        by_task = self._by_task
        for record, size in zip(batch, sizes, strict=True):
            chunk = self._chunks[-1] if self._chunks else None
            if chunk is None or len(chunk.records) >= CHUNK_RECORDS:
                chunk = _Chunk()
                self._chunks.append(chunk)
            chunk.sizes.append(size)
            chunk.highest = max(chunk.highest, record[ORIGIN][1])
            chunk.records.append(record)
            task_id = record[WHO][0]
            if task_id in by_task:
                by_task[task_id].append(record)
            else:
                by_task[task_id] = [record]
            self.kept += 1
            self.kept_bytes += size
        while self.kept > self._max_records or self.kept_bytes > self._max_bytes:
            self._evict()

    def _evict(self) -> None:
        """Drop as much of the oldest chunk as the bounds ask for."""
        oldest = self._chunks[0]
        surplus = self.kept - self._max_records
        excess = self.kept_bytes - self._max_bytes
        count = size = 0
        for each in oldest.sizes:
            if count >= surplus and size >= excess:
                break
            count += 1
            size += each
        for task_id, own in Counter(r[WHO][0] for r in oldest.records[:count]).items():
            records = self._by_task[task_id]
            del records[:own]
            if not records:
                del self._by_task[task_id]
        del oldest.records[:count]
        del oldest.sizes[:count]
        if not oldest.records:
            self._chunks.popleft()
        self.kept -= count
        self.kept_bytes -= size
        self.evicted += count

    def select(self, query: Query) -> list[TaskRecord]:
        """Return what a query asks for. From any thread, also from within a log call.

        Raises:
            ConfigError: The query holds a value that cannot mean anything.
        """
        tests = query.predicates()
        limit = self._max_records if query.limit is None else query.limit
        unfinished = self._unfinished()[-self._max_records :]
        seen = {record[SEQUENCE] for record in unfinished}
        pushed_out = self._pushed_out(len(unfinished))
        finished = (
            record
            for record in self._finished(query)
            if record[SEQUENCE] > pushed_out and record[SEQUENCE] not in seen
        )
        ordered = (
            chain(reversed(unfinished), finished)
            if query.newest_first
            else chain(finished, unfinished)
        )
        matching = (r for r in ordered if all(test(r) for test in tests))
        return [TaskRecord(record) for record in islice(matching, limit)]

    def _pushed_out(self, unfinished: int) -> int:
        """Return the last sequence that the unfinished records will evict, or -1."""
        surplus = self.kept + unfinished - self._max_records
        if surplus <= 0:
            return -1
        for chunk in self._chunks.copy():
            records = chunk.records.copy()
            if surplus <= len(records):
                return records[surplus - 1][SEQUENCE]
            surplus -= len(records)
        return -1

    def _finished(self, query: Query) -> Iterator[Sealed]:
        """Yield the finished records that may match, in the query's order."""
        lowest = query.lowest_level
        if query.task_id is not None:
            own = self._by_task.get(str(query.task_id), []).copy()
            yield from reversed(own) if query.newest_first else own
            return
        chunks = self._chunks.copy()
        if query.newest_first:
            chunks.reverse()
        for chunk in chunks:
            if chunk.highest >= lowest:
                records = chunk.records.copy()
                yield from reversed(records) if query.newest_first else records

    def clear(self) -> None:
        """Forget the finished records. Only while the worker is kept from `keep`."""
        self._chunks = deque()
        self._by_task = {}
        self.kept = self.kept_bytes = 0
