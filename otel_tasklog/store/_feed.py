"""What a follower has not read yet: a buffer with one writer and one reader.

Guarantees: neither end waits for the other or takes a lock. The worker writes; both
take from the left, in one step of the interpreter, so that a record is either read
or counted as missed. A reader that waits has left behind how to wake it, and looks
once more before it does; so no record comes unnoticed.
"""

from __future__ import annotations

import contextlib
from collections import deque
from typing import TYPE_CHECKING

from otel_tasklog._errors import FollowerError
from otel_tasklog.capture._record import TaskRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Sequence

    from otel_tasklog.capture._record import Sealed

__all__ = ["Feed"]


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
        missed: How many records did not fit.
        bell: Wakes the reader; None while it does not wait.
    """

    def __init__(
        self,
        tests: Sequence[Callable[[Sealed], bool]],
        backlog: Iterable[TaskRecord],
        buffer_records: int,
    ) -> None:
        self._tests = tests
        self._backlog = deque(backlog)
        self._buffer: deque[Sealed] = deque()
        self._buffer_records = buffer_records
        self._ended = False  # nothing will be added
        self._closed = False  # nothing will be read
        self._failure: str | None = None
        self.missed: int = 0
        self.bell: _Bell | None = None

    def offer(self, finished: Iterable[Sealed]) -> None:
        """Add what passes the tests. By the worker alone; may raise what they do."""
        if self._ended:
            return
        for test in self._tests:
            finished = filter(test, finished)
        passed: list[Sealed] = []
        try:
            passed.extend(finished)
        finally:
            self._add(passed)

    def _add(self, records: list[Sealed]) -> None:
        # As few steps as can be: all followers together see each record of the program.
        buffer = self._buffer
        surplus = len(buffer) + len(records) - self._buffer_records
        for _ in range(min(surplus, len(buffer))):
            try:
                buffer.popleft()
                self.missed += 1
            except IndexError:  # the reader took the last
                break
        unfit = max(len(records) - self._buffer_records, 0)
        self.missed += unfit
        buffer.extend(records[unfit:])
        if buffer:
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
        self._buffer.clear()
        self.end()

    def take(self, end: type[Exception]) -> TaskRecord | None:
        """Return the next record, or None if it has not come yet. By the reader.

        Raises:
            end: There will be none, and this is what the caller says so with.
            FollowerError: Likewise, because the filters failed.
        """
        ended = self._ended  # before the look, which then misses nothing
        if not self._closed:
            try:
                if self._backlog:
                    return self._backlog.popleft()
                return TaskRecord(self._buffer.popleft())
            except IndexError:
                pass
        if not ended:
            return None
        if self._failure is not None:
            raise FollowerError(self._failure)
        raise end

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
            yield bool(self._buffer) or self._ended
        finally:
            self.bell = None
