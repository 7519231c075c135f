"""The ring: the newest records, in memory.

Finished records stand in chunks, oldest first, each chunk a list that only the
worker appends to and trims. Two indexes refer to the same records and are trimmed
together with them, so that nothing outlives its eviction: a list for each task,
and one of what is a warning or worse. So one task's log, and the errors among a
hundred thousand records, are found in microseconds. A text is looked for in all
messages of a full chunk at once, joined when it was first asked for.

Guarantees: one writer, the worker. Readers take no lock, so a query can neither
wait for the logger nor make it wait; they copy a list, which is one step of the
interpreter, and look at the copy. What the worker has not reached yet is asked
from *unfinished* before the chunks are read, never after: a record that is
finished meanwhile is then seen twice, and the second is left out, instead of
not at all.
"""

from __future__ import annotations

import logging
from array import array
from collections import Counter, defaultdict, deque
from itertools import chain
from operator import itemgetter
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import (
    MESSAGE,
    ORIGIN,
    SEQUENCE,
    WHO,
    Sealed,
    TaskRecord,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from otel_tasklog.store._query import Query

__all__ = ["Ring"]

_sequence: Final = itemgetter(SEQUENCE)
CHUNK_RECORDS: Final = 512

NOTABLE: Final = logging.WARNING
"""Records from this level on have an index; below it, most of them match."""


class _Chunk:
    """Consecutive records, their sizes, and the highest level among them."""

    __slots__ = ("_joined", "highest", "records", "sizes")

    def __init__(self) -> None:
        self.records: list[Sealed] = []
        self.sizes = array("q")
        self.highest = 0
        self._joined: str | None = None

    def lacks(self, text: str) -> bool:
        """Return whether surely none of its messages has this lower-case text.

        From any thread; at worst two of them join the same messages. What is
        joined stays until the chunk goes: a program that is searched pays for its
        messages twice, which the ring's bound in bytes does not count.
        """
        if self._joined is None:
            records = self.records.copy()
            if len(records) < CHUNK_RECORDS:  # still growing, or shrinking already
                return False
            self._joined = "\n".join([r[MESSAGE] for r in records]).lower()
        return text not in self._joined


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
        self.max_records = records
        self._max_bytes = size_bytes
        self._unfinished = unfinished
        self._chunks: deque[_Chunk] = deque()
        self._by_task: defaultdict[str | None, list[Sealed]] = defaultdict(list)
        self._notable: deque[Sealed] = deque()
        self.kept = 0
        self.kept_bytes = 0
        self.evicted = 0

    def keep(self, batch: Sequence[Sealed], sizes: Sequence[int]) -> None:
        """Add finished records. On the worker's thread only."""
        by_task = self._by_task
        for record in batch:
            by_task[record[WHO][0]].append(record)
        highest = max([record[ORIGIN][1] for record in batch], default=0)
        if highest >= NOTABLE:
            self._notable += [r for r in batch if r[ORIGIN][1] >= NOTABLE]
        start = 0
        while start < len(batch):
            if not self._chunks or len(self._chunks[-1].records) >= CHUNK_RECORDS:
                self._chunks.append(_Chunk())
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
            records = self._by_task[task_id]
            del records[:own]
            if not records:
                del self._by_task[task_id]
        if oldest.highest >= NOTABLE:
            for record in evicted:
                if record[ORIGIN][1] >= NOTABLE:
                    self._notable.popleft()
        del oldest.records[:count]
        del oldest.sizes[:count]
        if not oldest.records:
            self._chunks.popleft()
        self.kept -= len(evicted)
        self.kept_bytes -= size
        self.evicted += len(evicted)

    def select(self, query: Query) -> list[TaskRecord]:
        """Return what a query asks for. From any thread, also from within a log call.

        Raises:
            ConfigError: The query holds a value that cannot mean anything.
        """
        tests = query.predicates()
        limit = self.max_records if query.limit is None else query.limit
        unfinished = self._unfinished()[-self.max_records :]
        finished = self._finished(query, unfinished)
        parts = (
            chain((unfinished[::-1],), finished)
            if query.newest_first
            else chain(finished, (unfinished,))
        )
        found: list[Sealed] = []
        for part in parts:
            matching: Iterable[Sealed] = part
            for test in tests:
                matching = filter(test, matching)
            found += matching
            if len(found) >= limit:
                break
        # Threads may have drawn their sequence in another order than they appended.
        found.sort(key=_sequence, reverse=query.newest_first)
        return [TaskRecord(record) for record in found[:limit]]

    def _pushed_out(self, unfinished: int) -> int:
        """Return the last sequence that the unfinished records will evict, or -1."""
        surplus = self.kept + unfinished - self.max_records
        if surplus <= 0:
            return -1
        for chunk in self._chunks.copy():
            records = chunk.records.copy()
            if surplus <= len(records):
                return records[surplus - 1][SEQUENCE]
            surplus -= len(records)
        return -1

    def _finished(
        self, query: Query, unfinished: Sequence[Sealed]
    ) -> Iterator[Sequence[Sealed]]:
        """Yield the finished records that may match, in parts in the query's order."""
        seen = {record[SEQUENCE] for record in unfinished}
        pushed_out = self._pushed_out(len(unfinished))
        for records in self._candidates(query):
            part = records
            if seen or pushed_out >= 0:
                part = [
                    record
                    for record in records
                    if record[SEQUENCE] > pushed_out and record[SEQUENCE] not in seen
                ]
            yield part[::-1] if query.newest_first else part

    def _candidates(self, query: Query) -> Iterator[list[Sealed]]:
        """Yield copies of lists, in the query's order, oldest first within each."""
        lowest = query.lowest_level
        if query.task_id is not None:
            own = self._by_task.get(str(query.task_id), []).copy()
            yield from _pieces(own, newest_first=query.newest_first)
            return
        if lowest >= NOTABLE:
            notable = list(self._notable.copy())
            yield from _pieces(notable, newest_first=query.newest_first)
            return
        text = query.text.lower() if query.text is not None else ""
        chunks = self._chunks.copy()
        if query.newest_first:
            chunks.reverse()
        for chunk in chunks:
            if chunk.highest >= lowest and not (text and chunk.lacks(text)):
                yield chunk.records.copy()

    def clear(self) -> None:
        """Forget the finished records. Only while the worker is kept from `keep`."""
        self._chunks = deque()
        self._by_task = defaultdict(list)
        self._notable = deque()
        self.kept = self.kept_bytes = 0


def _pieces(records: list[Sealed], *, newest_first: bool) -> Iterator[list[Sealed]]:
    """Cut a list, so that a limit that is reached early saves looking at the rest."""
    starts = range(0, len(records), CHUNK_RECORDS)
    for start in reversed(starts) if newest_first else starts:
        yield records[start : start + CHUNK_RECORDS]
