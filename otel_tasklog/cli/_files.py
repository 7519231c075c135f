"""Files and standard input as a source of records."""

from __future__ import annotations

import contextlib
import heapq
import os
import sys
from collections import deque
from itertools import islice
from operator import attrgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final, cast

import click  # noqa: TID253 - see _commands

from otel_tasklog._text import visible
from otel_tasklog.capture._record import WHO, Who
from otel_tasklog.cli._asking import STDIN
from otel_tasklog.cli._failures import complain
from otel_tasklog.cli._reading import Reading
from otel_tasklog.cli._source import Entry, Found

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator
    from io import BufferedReader

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.cli._failures import Failure
    from otel_tasklog.store._query import Query

__all__ = ["FileSource"]


class FileSource:
    """A file of records. Each time it is asked, it is read from its beginning.

    A query finds in it what it finds in memory. ``under:`` finds a job inside a job
    once the file has said so. One that breaks off has what comes before.

    Args:
        path: The file, or `STDIN`, which can be read once.
        note: Called with what is wrong with a file that cannot be read to its end.
    """

    def __init__(self, path: str, note: Callable[[Failure], object]) -> None:
        self._path = path
        self._note = note
        self.name: Final = "stdin" if path == STDIN else visible(path)

    def select(self, query: Query) -> Iterator[Entry]:
        """Yield what a query asks for: the newest by time, the oldest as they stand.

        Raises:
            click.ClickException: The file cannot be opened.
        """
        return (found.entry for found in self.select_with_context(query, 0))

    def select_with_context(self, query: Query, records: int) -> Iterator[Found]:
        """Yield the same, each with so many records before and after it.

        Raises:
            click.ClickException: As `select`.
        """
        found = _with_context(self._read(query), records)
        if not query.newest_first:
            yield from islice(found, query.limit)
        elif query.limit is None:
            yield from sorted(found, key=attrgetter("timestamp_ns"))[::-1]
        else:
            # The later of two that have one time is the newer.
            numbered = ((each.timestamp_ns, n, each) for n, each in enumerate(found))
            for _, _, each in heapq.nlargest(query.limit, numbered):
                yield each

    def _read(self, query: Query) -> Iterator[tuple[Entry, bool]]:
        """Yield each record, and whether it is one of those that are asked for."""
        families: list[_Family] = []

        def family(task_id: str) -> _Family:
            families.append(_Family(task_id))
            return families[-1]

        tests = query.predicates(family)
        with self._opened() as reading:
            for sealed, mark, resource in reading.records():
                for each in families:
                    each.learn(sealed)
                entry = Entry(sealed, mark, self.name, resource)
                yield entry, _passes(sealed, tests)

    @contextlib.contextmanager
    def _opened(self) -> Generator[Reading]:
        with contextlib.ExitStack() as stack:
            reading = Reading(stack.enter_context(self._open()), self.name)
            try:
                yield reading
            finally:
                if reading.failure is not None:
                    self._note(reading.failure)
                if reading.left_out:
                    complain(
                        f"{self.name}: left out, as no log records: "
                        f"{reading.left_out}; the first: {reading.reason}"
                    )

    def _open(self) -> contextlib.AbstractContextManager[BufferedReader]:
        if self._path == STDIN:
            if sys.stdin is None:
                raise click.UsageError("there is no standard input to read")
            # As Python opens it; its type says less.
            return contextlib.nullcontext(cast("BufferedReader", sys.stdin.buffer))
        try:
            return Path(self._path).open("rb")
        except OSError as error:
            reason = os.strerror(error.errno or 0)
            raise click.UsageError(f"cannot read {self.name}: {reason}") from None


class _Family:
    """The ids of a job and of those inside it, as far as a file has told.

    Args:
        task_id: The job.
    """

    def __init__(self, task_id: str) -> None:
        self._members: set[str | None] = {task_id}

    def learn(self, sealed: Sealed) -> None:
        """Look at which job a record's own is inside of."""
        who = Who._make(sealed[WHO])
        if who.task_parent_id in self._members:
            self._members.add(who.task_id)

    def __contains__(self, task_id: object) -> bool:
        return task_id in self._members


def _passes(sealed: Sealed, tests: Iterable[Callable[[Sealed], bool]]) -> bool:
    for test in tests:  # noqa: SIM110 - all() takes twice the time
        if not test(sealed):
            return False
    return True


def _with_context(
    entries: Iterable[tuple[Entry, bool]], records: int
) -> Iterator[Found]:
    """Yield those that match, in their order, once all around them are known."""
    before: deque[Entry] = deque(maxlen=records)
    waiting: deque[tuple[int, Found]] = deque()
    for n, (entry, matches) in enumerate(entries):
        for _, found in waiting:
            found.around.append(entry)
        if matches:
            waiting.append((n + records, Found(entry, [*before, entry])))
        before.append(entry)
        while waiting and waiting[0][0] <= n:
            yield waiting.popleft()[1]
    for _, found in waiting:
        yield found
