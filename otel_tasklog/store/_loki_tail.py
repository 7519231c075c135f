"""What of a Loki's tail is new, and when to ask for what it did not send.

A tail promises little: Loki ends it after an hour, leaves records out for a reader that
is slow, and says nothing when it dies. Of records that come together, Loki 3.7.6 sends
six through a query with conditions, and does not tell of the others. So a tail only
brings records sooner. After each connection, each loss, each silence, and a moment after
a frame, the same query is asked from shortly before the newest record on, and what is
known already is left out. A Loki or a proxy that has no tail for us is asked every few
seconds instead.
"""

from __future__ import annotations

import logging
import time
from collections import deque
from typing import TYPE_CHECKING, Final

from otel_tasklog._errors import StorageError
from otel_tasklog._text import visible
from otel_tasklog.capture._record import TIMESTAMP_NS
from otel_tasklog.store._loki_answers import read_frame
from otel_tasklog.store._loki_records import Stored
from otel_tasklog.store._loki_search import AHEAD_NS, RETRIED, SECOND_NS, mapped, passes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_tasklog.store._loki_answers import Entry
    from otel_tasklog.store._loki_search import Question, Search, Steps

__all__ = ["BURST_SECONDS", "SILENCE_SECONDS", "Tail"]

SILENCE_SECONDS: Final = 15.0
"""After so long without a word, it is asked whether there is something new."""

BURST_SECONDS: Final = 1.0
"""So long after the first frame since the last question, it is asked what frames left out."""

OVERLAP_NS: Final = 60 * SECOND_NS
"""A record may come so much later than one that is newer, and is still found."""

KNOWN_RECORDS: Final = 100_000
"""So many are remembered, so that none comes twice. What is older is not asked for."""

FIRST_PAUSE_SECONDS: Final = 0.5
LONGEST_PAUSE_SECONDS: Final = 10.0

_log: Final = logging.getLogger("otel_tasklog")


class Tail:
    """A query that goes on, without the I/O.

    Args:
        question: The query.
        search: How to search.
        clock: Tells the time in nanoseconds since the epoch.

    Attributes:
        lost: Whether Loki has left records out since it was last asked.
        pause_seconds: How long to wait before the next connection.
    """

    def __init__(
        self,
        question: Question,
        search: Search,
        clock: Callable[[], int] = time.time_ns,
    ) -> None:
        self._question = question
        self._search = search
        self._clock = clock
        self._asked = question.compiled(complete=False)
        self._tests = question.tests()
        self._newest_ns = clock()
        self._known: set[int] = set()
        self._order: deque[tuple[int, int]] = deque()
        self._forgotten_ns = 0
        self._failures = 0
        self.lost: bool = False
        self.pause_seconds: float = 0.0

    @property
    def parameters(self) -> dict[str, str]:
        """Of the request that opens a tail, from now on."""
        return {"query": self._asked.logql(), "start": str(self._clock())}

    def backlog(self) -> Steps:
        """Yield what to do to find what the query asks for by now, the oldest first."""
        question, query = self._question, self._question.query
        if query.limit == 0:  # otherwise the search does so
            yield from question.find_families(*question.bounds())

        # What is there already is known, so that all that comes late can be told. What
        # was logged since follow() was called is not among it, if Loki has it or not.
        def there(page: list[Stored]) -> tuple[list[Stored], bool]:
            self._fresh(page)
            return [], True

        yield from mapped(self._between(self._newest_ns, self._newest_ns), there)
        newest: list[Stored] = []

        def found(page: list[Stored]) -> tuple[list[Stored], bool]:
            self._fresh(page)
            newest.extend(page if query.newest_first else ())
            return ([] if query.newest_first else page), True

        yield from mapped(question.steps(), found)
        self._forgotten_ns = 0  # what may come again was read last, and is remembered
        yield newest[::-1]

    def caught_up(self) -> Steps:
        """Yield what to do to find what no frame has brought."""
        self.lost = False

        def fresh(page: list[Stored]) -> tuple[list[Stored], bool]:
            return self._fresh(page), True

        end = self._clock() + AHEAD_NS
        yield from mapped(self._between(self._newest_ns, end), fresh)

    def _between(self, newest_ns: int, end: int) -> Steps:
        start = max(newest_ns - OVERLAP_NS, self._forgotten_ns + 1)
        return self._search.pages(self._asked, start, end, newest_first=False)

    def frame(self, text: str) -> list[Stored]:
        """Return what is new in a frame, by time.

        Raises:
            StorageError: It is no frame of Loki's.
        """
        frame = read_frame(self._search.url, text)
        self.heard()
        self.lost = self.lost or frame.has_dropped
        entries = frame.entries
        entries.sort(key=_time)
        return self._fresh([Stored.read(*each) for each in entries])

    def heard(self) -> None:
        """Take notice that the connection is well."""
        self._failures = 0
        self.pause_seconds = 0.0

    def failed(self, error: Exception) -> None:
        """Take notice that a connection has ended, or there was none.

        Raises:
            StorageError: It would be refused each time.
        """
        if isinstance(error, StorageError) and error.status not in (None, *RETRIED):
            raise error
        self._failures += 1
        self.pause_seconds = min(
            FIRST_PAUSE_SECONDS * 2 ** min(self._failures - 1, 10),
            LONGEST_PAUSE_SECONDS,
        )
        if self._failures == 2:  # one that ends, and the next one works, is usual
            said = visible(str(error) or type(error).__name__)
            _log.warning(
                "no tail of %s, it is asked instead: %s", self._search.url, said
            )

    def _fresh(self, records: Iterable[Stored]) -> list[Stored]:
        found: list[Stored] = []
        now = self._clock()
        for record in records:
            key = hash((record.whole, *record.resource.items()))
            if key in self._known:
                continue
            at = min(record.whole[TIMESTAMP_NS], now)
            self._known.add(key)
            self._order.append((key, at))
            if len(self._order) > KNOWN_RECORDS:
                forgotten, forgotten_ns = self._order.popleft()
                self._known.discard(forgotten)
                self._forgotten_ns = max(self._forgotten_ns, forgotten_ns)
            self._newest_ns = max(self._newest_ns, at)
            self._question.learn(record)
            if passes(record, self._tests):
                found.append(record)
        return found


def _time(entry: Entry) -> int:
    return entry.timestamp_ns
