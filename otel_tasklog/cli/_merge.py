"""Records of several sources in the order of time."""

from __future__ import annotations

import heapq
import time
from collections import deque
from operator import attrgetter
from typing import TYPE_CHECKING, Final, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from otel_tasklog.cli._source import Entry

__all__ = ["Reorder", "merged"]

WINDOW_SECONDS: Final = 0.3
"""A process publishes what it logs every tenth of a second or so."""

MAX_RECORDS: Final = 10_000


class _Timed(Protocol):
    @property
    def timestamp_ns(self) -> int: ...


_TimedT = TypeVar("_TimedT", bound=_Timed)


def merged(
    streams: Iterable[Iterator[_TimedT]], *, newest_first: bool
) -> Iterator[_TimedT]:
    """Yield what is in several streams by time; each stays in its own order.

    Args:
        streams: Each in the order of time, by and large. Read as far as is needed.
        newest_first: Which order that is.
    """
    return heapq.merge(*streams, key=attrgetter("timestamp_ns"), reverse=newest_first)


class Reorder:
    """Holds records back for a moment, so that those of other sources can go first.

    The order within a source is kept, whatever its clock does.

    Args:
        window_seconds: For how long.
        max_records: With more than so many, the first do not wait.
        clock: Tells the seconds that pass.

    Attributes:
        window_seconds: For how long; it may change.
    """

    def __init__(
        self,
        *,
        window_seconds: float = WINDOW_SECONDS,
        max_records: int = MAX_RECORDS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.window_seconds = window_seconds
        self._max = max_records
        self._clock = clock
        self._heap: list[tuple[int, int, Entry]] = []
        self._arrivals: deque[tuple[float, int]] = deque()
        self._last_ns: dict[str, int] = {}
        self._added = 0

    def add(self, entry: Entry) -> None:
        """Take a record that has just come."""
        # Never before one of the same source that came earlier.
        time_ns = max(entry.timestamp_ns, self._last_ns.get(entry.source, 0))
        self._last_ns[entry.source] = time_ns
        self._added += 1
        heapq.heappush(self._heap, (time_ns, self._added, entry))
        self._arrivals.append((self._clock(), time_ns))

    def due(self) -> Iterator[Entry]:
        """Yield those that have waited long enough, and what is older than they."""
        now = self._clock()
        while self._arrivals and self._arrivals[0][0] + self.window_seconds <= now:
            _, time_ns = self._arrivals.popleft()
            while self._heap and self._heap[0][0] <= time_ns:
                yield heapq.heappop(self._heap)[2]
        while len(self._heap) > self._max:
            yield heapq.heappop(self._heap)[2]

    def rest(self) -> Iterator[Entry]:
        """Yield all that still wait."""
        while self._heap:
            yield heapq.heappop(self._heap)[2]

    def wait_seconds(self) -> float | None:
        """Return after how long the next will be due, None if none waits."""
        if not self._heap:
            return None
        return max(self._arrivals[0][0] + self.window_seconds - self._clock(), 0.0)
