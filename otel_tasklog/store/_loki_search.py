"""What to ask Loki, one request after the other, and what to make of the answers.

Generators that do no I/O: they yield what to do next, and get what became of it. So
the same steps serve threads and event loops, and tests that have neither::

    Ask ──► Reply      a request to send
    Pause              so long to wait before the next
    list[Stored]       records that were found, in their order

Loki gives at most so many entries at once, and time is its only cursor. The next page
begins with the time at which the last one ended, and what is known already is left
out. If more entries than a page holds have one time, they are asked for in parts that
have nothing in common: by how a field that differs among them begins.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import WHO
from otel_tasklog.store._expression import Evaluation, Not, tests_of
from otel_tasklog.store._logql_query import Compiled, compiled, inside
from otel_tasklog.store._loki_answers import Reply, read_entries, refusal
from otel_tasklog.store._loki_parts import parts_of
from otel_tasklog.store._loki_records import Stored, stored
from otel_tasklog.store._terms import Under

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterator, Mapping, Sequence

    from otel_tasklog.store._expression import Expression, Test
    from otel_tasklog.store._logql import Condition
    from otel_tasklog.store._loki_answers import Entry
    from otel_tasklog.store._query import Query

__all__ = [
    "AHEAD_NS",
    "RETRIED",
    "SECOND_NS",
    "Ask",
    "Pause",
    "Question",
    "Search",
    "Steps",
    "advance",
    "mapped",
    "passes",
]

SECOND_NS: Final = 1_000_000_000
LONGEST_NS: Final = 30 * 86_400 * SECOND_NS
"""Loki refuses to look at more than 30 days and an hour at once."""

AHEAD_NS: Final = 600 * SECOND_NS
"""Loki takes records that are up to ten minutes ahead of its clock."""

RETRIED: Final = frozenset({0, 429, 500, 502, 503, 504})
NO_REPLY: Final = Reply(0, b"")
LONGEST_PAUSE_SECONDS: Final = 30.0


class Ask(NamedTuple):
    """A request: a form that is sent to a path below Loki's address."""

    path: str
    form: dict[str, str]


class Pause(NamedTuple):
    """Wait before the next request."""

    seconds: float


Step: TypeAlias = "Ask | Pause | list[Stored]"
Steps: TypeAlias = "Generator[Step, Reply | None, None]"


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Search:
    """How to search in a Loki.

    Attributes:
        url: Its address; for errors.
        labels: Of the streams to look at.
        history_seconds: So far back goes a query that does not say how far.
        page_records: So many entries are asked for at once.
        attempts: So often a request is sent, at most.
    """

    url: str
    labels: Mapping[str, str]
    history_seconds: float
    page_records: int
    attempts: int

    def question(self, query: Query, now_ns: int) -> Question:
        """Return what to ask for a query.

        Raises:
            ConfigError: It is about sequences, which Loki does not have.
        """
        for name in ("after", "before"):
            if getattr(query, name) is not None:
                expected = "None: Loki has no sequences; since= and until= tell times"
                raise ConfigError(name, getattr(query, name), expected)
        expression = query.expression()
        if expression is not None:
            expression = stored(expression)
        return Question(self, query, expression, now_ns)

    def ask(
        self, logql: str, start: int, end: int, *, newest_first: bool
    ) -> Generator[Step, Reply | None, list[Entry]]:
        """Ask for entries, again if need be; return them in their order.

        Raises:
            StorageError: Loki refuses, or does not answer.
        """
        form = {
            "query": logql,
            "start": str(start),
            "end": str(end),
            "limit": str(self.page_records),
            "direction": "backward" if newest_first else "forward",
        }
        attempt = 0
        while True:
            reply = (yield Ask("/loki/api/v1/query_range", form)) or NO_REPLY
            if 200 <= reply.status < 300:
                entries = read_entries(self.url, reply.body)
                entries.sort(key=_time, reverse=newest_first)
                return entries
            attempt += 1
            if reply.status not in RETRIED or attempt == self.attempts:
                raise refusal(self.url, reply)
            yield Pause(_pause_seconds(attempt, reply.retry_after))

    def pages(
        self, asked: Compiled, start: int, end: int, *, newest_first: bool
    ) -> Generator[Step, Reply | None, None]:
        """Yield what is found from *start* to before *end*, a page at a time."""
        windows = [
            (at, min(at + LONGEST_NS, end)) for at in range(start, end, LONGEST_NS)
        ]
        for first, last in reversed(windows) if newest_first else windows:
            yield from self._window(asked, first, last, newest_first=newest_first)

    def _window(
        self, asked: Compiled, start: int, end: int, *, newest_first: bool
    ) -> Generator[Step, Reply | None, None]:
        known: set[int] = set()  # of the time at which the next page begins
        at = None
        while start < end:
            logql = asked.logql()
            page = yield from self.ask(logql, start, end, newest_first=newest_first)
            is_last = len(page) < self.page_records
            last = page[-1].timestamp_ns if page else start
            is_one_time = not is_last and last == page[0].timestamp_ns == at
            if is_one_time:
                page = yield from self._at_once(asked, last)
            yield [Stored.read(*each) for each in page if each.key not in known]
            if is_last:
                return
            # What has the last time comes again, but for when it is known to be all.
            at, known = last, {each.key for each in page if each.timestamp_ns == last}
            if newest_first:
                end = last if is_one_time else last + 1
            else:
                start = last + 1 if is_one_time else last

    def _at_once(
        self, asked: Compiled, at: int, *conditions: Condition
    ) -> Generator[Step, Reply | None, list[Entry]]:
        """Return all entries of one time, in parts if they are too many."""
        page = yield from self.ask(
            asked.logql(*conditions), at, at + 1, newest_first=False
        )
        if len(page) < self.page_records:
            return page
        found: list[Entry] = []
        for part in parts_of(page):
            found += yield from self._at_once(asked, at, *conditions, part)
        return found or page


class Question:
    """A query to a Loki.

    Args:
        search: How to search there.
        query: The query.
        expression: The same, by Loki's names.
        now_ns: From when durations count back.

    Attributes:
        query: The query.
        families: By a job of ``under:``, it and the jobs inside it, once they have been
            asked for. They may come to hold more.
    """

    def __init__(
        self, search: Search, query: Query, expression: Expression | None, now_ns: int
    ) -> None:
        self._search = search
        self.query: Final = query
        self._expression = expression
        self._now_ns = now_ns
        jobs = dict.fromkeys(_jobs(expression))
        self.families: dict[str, set[str]] = {job: {job} for job in jobs}

    def compiled(self, *, complete: bool) -> Compiled:
        """Return it as LogQL.

        Args:
            complete: Whether no further job may join the families.
        """
        return compiled(
            self._expression,
            now_ns=self._now_ns,
            families=self.families if complete else {},
            labels=self._search.labels,
        )

    def tests(self) -> list[Test]:
        """Return what a record of an answer passes that matches."""
        if self._expression is None:
            return []
        evaluation = Evaluation(self._now_ns, lambda job: self.families[job])
        return tests_of([self._expression], evaluation)

    def learn(self, record: Stored) -> None:
        """Look at which job a record's own is inside of."""
        task_id, parent_id, *_ = record.whole[WHO]
        for family in self.families.values():
            if parent_id in family and task_id is not None:
                family.add(task_id)

    def bounds(self) -> tuple[int, int]:
        """Return from when to before when records are asked for."""
        asked = self.compiled(complete=False)
        ahead = self._now_ns + AHEAD_NS
        end = ahead if asked.until_ns is None else min(asked.until_ns, ahead)
        start = asked.since_ns
        if start is None:
            start = min(self._now_ns, end) - int(self._search.history_seconds * 1e9)
        return max(start, 0), end

    def steps(self, within: tuple[int, int] | None = None) -> Steps:
        """Yield what to do to find what the query asks for, and what is found.

        Args:
            within: From when to before when, instead of what the query says.
        """
        left = self.query.limit
        start, end = within or self.bounds()
        if left == 0 or start >= end:
            return
        yield from self.find_families(start, end)
        tests = self.tests()

        def matching(page: list[Stored]) -> tuple[list[Stored], bool]:
            nonlocal left
            found = [each for each in page if passes(each, tests)][:left]
            if left is not None:
                left -= len(found)
            return found, left != 0

        newest_first = self.query.newest_first
        asked = self.compiled(complete=True)
        pages = self._search.pages(asked, start, end, newest_first=newest_first)
        yield from mapped(pages, matching)

    def find_families(self, start: int, end: int) -> Steps:
        """Learn which jobs are inside others, as the records of a time tell.

        Args:
            start: From when on.
            end: Before when.
        """

        def learning(page: list[Stored]) -> tuple[list[Stored], bool]:
            for each in page:
                self.learn(each)
            return [], True

        for family in self.families.values():
            new = family.copy()
            while new:
                known = family.copy()
                asked = inside(new, self._search.labels)
                pages = self._search.pages(asked, start, end, newest_first=False)
                yield from mapped(pages, learning)
                new = family - known


def advance(steps: Steps, reply: Reply | None) -> Step | None:
    """Return the next step, once the last one has its reply; None at the end."""
    try:
        return steps.send(reply)
    except StopIteration:
        return None


def mapped(
    pages: Steps, use: Callable[[list[Stored]], tuple[list[Stored], bool]]
) -> Steps:
    """Yield the same, with something else for each page, until that says to stop."""
    reply: Reply | None = None
    while (step := advance(pages, reply)) is not None:
        if not isinstance(step, list):
            reply = yield step
            continue
        reply = None
        found, goes_on = use(step)
        if found:
            yield found
        if not goes_on:
            return


def passes(record: Stored, tests: Sequence[Test]) -> bool:
    """Return whether a record is one that is asked for."""
    return all(test(record.whole) for test in tests)


def _time(entry: Entry) -> int:
    return entry.timestamp_ns


def _jobs(expression: Expression | None) -> Iterator[str]:
    """Yield the jobs of ``under:``."""
    if isinstance(expression, Under):
        yield expression.task_id
    elif isinstance(expression, Not):
        yield from _jobs(expression.part)
    else:
        for part in getattr(expression, "parts", ()):
            yield from _jobs(part)


def _pause_seconds(attempts: int, retry_after: str) -> float:
    try:
        asked = float(retry_after)
    except ValueError:
        asked = 0.0
    return min(max(0.1 * 2.0**attempts, asked), LONGEST_PAUSE_SECONDS)
