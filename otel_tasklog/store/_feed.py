"""What a follower has not read yet: a buffer with one writer and one reader.

Guarantees: neither end waits for the other or takes a lock. The worker puts a part at
the right end, as it was published, and drops from the left those that are wholly too
old; the reader takes from the left, and leaves out what is too old of a part. Each
record has a place, by which the reader knows what it was not given; so a record is
either read or counted as missed. A reader that waits has left behind how to wake it,
and looks once more before it does; so no record comes unnoticed.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING, TypeAlias

from otel_tasklog._errors import FollowerError
from otel_tasklog.capture._record import SEQUENCE, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Generator, Iterable, Sequence

    from otel_tasklog.capture._record import Sealed

__all__ = ["Feed"]

_Part: TypeAlias = "tuple[int, Sequence[Sealed]]"


def _end(part: _Part) -> int:
    place, records = part
    return place + len(records)


class _Bell:
    """Wakes a reader for one wait, once; twice if two threads come together."""

    __slots__ = ("_rung", "_wake")

    def __init__(self, wake: Callable[[], object]) -> None:
        self._wake = wake
        self._rung = False

    def ring(self) -> None:
        if not self._rung:
            self._rung = True
            self._wake()


class Feed:
    """What one follower has not read yet.

    Args:
        tests: What a record must pass.
        backlog: What comes first; it does not count against the buffer.
        buffer_records: How many records may wait for the reader.

    Attributes:
        bell: Wakes the reader; None while it does not wait.
    """

    def __init__(
        self,
        tests: Sequence[Callable[[Sealed], bool]],
        backlog: Iterable[Sealed],
        buffer_records: int,
    ) -> None:
        self._tests = tests
        self._backlog = deque(backlog)
        # Each with the place of its first record, counted from the first that passed.
        self._parts: deque[_Part] = deque()
        self._buffer_records = buffer_records
        self._added = 0  # the worker's: the place of the next that passes
        # The reader's: what it reads now, the place that is next, how many it missed.
        self._reading: _Part = (0, ())
        self._at: tuple[int, int] = (0, 0)  # as one, for who asks in another thread
        self._left_out: tuple[Container[int], int] | None = None
        self._ended = False  # nothing will be added
        self._closed = False  # nothing will be read
        self._failure: str | None = None
        self.bell: _Bell | None = None

    @property
    def missed(self) -> int:
        """How many records did not fit."""
        place, missed = self._at
        return missed + max(self._added - self._buffer_records - place, 0)

    def leave_out(self, sequences: Container[int], until: int) -> None:
        """Do not add these records, which are on their way. Before it is offered any.

        Args:
            sequences: Which.
            until: The highest sequence of all that are on their way; who is offered
                something of which the first is above it has been offered them all.
        """
        self._left_out = sequences, until

    def offer(self, finished: Sequence[Sealed]) -> None:
        """Add what passes the tests. By the worker alone; may raise what they do.

        Args:
            finished: Is kept, not copied: nobody changes it any more.
        """
        if self._ended or not finished:
            return
        if self._left_out is not None:
            sequences, until = self._left_out
            if finished[0][SEQUENCE] <= until:
                finished = [r for r in finished if r[SEQUENCE] not in sequences]
            else:
                self._left_out = None
        if not self._tests:
            self._add(finished)
            return
        passing: Iterable[Sealed] = finished
        for test in self._tests:
            passing = filter(test, passing)
        passed: list[Sealed] = []
        try:
            passed.extend(passing)
        finally:
            self._add(passed)

    def _add(self, records: Sequence[Sealed]) -> None:
        # As few steps as can be: all followers together see each record of the program.
        if not records:
            return
        place = self._added
        self._added += len(records)
        oldest = self._added - self._buffer_records
        # Before the new ones come: where the reader takes the part that was looked at,
        # the one behind it goes, which is counted likewise, but never the newest.
        with contextlib.suppress(IndexError):
            while _end(self._parts[0]) <= oldest:
                self._parts.popleft()
        if place < oldest:
            place, records = oldest, records[oldest - place :]
        self._parts.append((place, records))
        self._wake_reader()

    def _wake_reader(self) -> None:
        bell = self.bell  # taken back by the reader alone, who has one for each wait
        if bell is not None:
            bell.ring()

    def end(self, failure: str | None = None) -> None:
        """Add nothing any more; what is there can be read. From any thread."""
        self._failure = failure
        self._ended = True
        self._wake_reader()

    def close(self) -> None:
        """End, and forget what is there. From any thread."""
        self._closed = True
        self._backlog.clear()
        self._parts.clear()
        self.end()

    def take(self, most: int) -> list[TaskRecord] | None:
        """Return the next records, None if there are none yet, [] if there will be none.

        By the reader.

        Args:
            most: How many at most.

        Raises:
            FollowerError: There will be none, because the filters failed.
        """
        ended = self._ended  # before the look, which then misses nothing
        if not self._closed:
            taken = self._take_backlog(most) or self._take_added(most)
            if taken:
                return taken
        if not ended:
            return None
        if self._failure is not None:
            raise FollowerError(self._failure)
        return []

    def _take_backlog(self, most: int) -> list[TaskRecord]:
        taken: list[Sealed] = []
        with contextlib.suppress(IndexError):
            while len(taken) < most:
                taken.append(self._backlog.popleft())
        return [*map(TaskRecord, taken)]

    def _take_added(self, most: int) -> list[TaskRecord]:
        taken: list[TaskRecord] = []
        start, records = self._reading
        while len(taken) < most:
            place, missed = self._at
            first = max(place, start, self._added - self._buffer_records)
            found = records[first - start : first - start + most - len(taken)]
            if found:
                self._at = first + len(found), missed + first - place
                taken += map(TaskRecord, found)
                continue
            try:
                self._reading = start, records = self._parts.popleft()
            except IndexError:
                break
        return taken

    @contextlib.contextmanager
    def woken_by(self, wake: Callable[[], object]) -> Generator[bool]:
        """Have *wake* called at the next change. By the reader.

        Returns:
            Whether there was one already, which nobody could be told of.
        """
        if self.bell is not None:
            raise FollowerError(
                "this follower is being read already; "
                "call TaskLog.follow() once for each reader"
            )
        self.bell = _Bell(wake)
        try:
            yield bool(self._parts) or self._ended
        finally:
            self.bell = None
