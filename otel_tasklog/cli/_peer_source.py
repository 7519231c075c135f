"""The records of a running process, over its access point.

A tail keeps the id of the last record that it gave. When the connection is lost, it
asks the same process for what came after that one. So nothing that is still in memory
there is missed, and nothing comes twice.
"""

from __future__ import annotations

import itertools
import json
import time
from typing import TYPE_CHECKING, Final, NamedTuple, NoReturn, cast

from otel_tasklog.capture._record import SEQUENCE
from otel_tasklog.cli._client import open_place
from otel_tasklog.cli._failures import Failure, Unreachable, complain
from otel_tasklog.cli._source import Entry, Found
from otel_tasklog.viewer._members import Members
from otel_tasklog.viewer._openapi import RECORDS
from otel_tasklog.viewer._places import is_running
from otel_tasklog.viewer._record_read import read_sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from otel_tasklog.cli._client import Peer
    from otel_tasklog.store._query import Query

__all__ = ["PeerSource", "PeerTail"]

RETRY_SECONDS: Final = 0.5
"""A process that lives and does not answer is asked again after so long."""

_UNREADABLE: Final = (ValueError, OverflowError, RecursionError)


class _Page(NamedTuple):
    """Records in one answer, and the cursor of what follows, if anything does."""

    entries: list[Entry]
    following: str | None


class PeerSource:
    """A process that answers.

    Args:
        peer: The process.
    """

    def __init__(self, peer: Peer) -> None:
        self.peer: Final = peer
        self.name: Final = peer.name
        try:
            self._resource = Members(peer.info.answer).mapping("resource")
        except ValueError as error:
            self._unfit(error)

    def select(self, query: Query) -> Iterator[Entry]:
        """Yield what a query asks for, in its order, a page at a time.

        What is logged from now on is no part of it.

        Raises:
            click.ClickException: The process cannot be asked, or not to the end.
        """
        if query.newest_first:
            yield from self._newest_first(str(query), query.limit)
            return
        last = self.newest()
        if last is None:
            return
        entries = itertools.takewhile(
            lambda entry: entry.sealed[SEQUENCE] <= last.sealed[SEQUENCE],
            self.after(str(query), None),
        )
        yield from itertools.islice(entries, query.limit)

    def _newest_first(self, text: str, left: int | None) -> Iterator[Entry]:
        cursor = None
        while left is None or left > 0:
            limit = RECORDS if left is None else min(left, RECORDS)
            page = self._page(q=text, limit=limit, cursor=cursor)
            yield from page.entries
            if page.following is None:
                return
            cursor = page.following
            left = None if left is None else left - len(page.entries)

    def after(self, text: str, cursor: str | None) -> Iterator[Entry]:
        """Yield what a query finds after a record, the oldest first, until it is all.

        Args:
            text: The query.
            cursor: The record's id; None for all that is in memory.

        Raises:
            click.ClickException: As `select`.
        """
        while True:
            page = self._page(q=text, order="oldest", limit=RECORDS, cursor=cursor)
            yield from page.entries
            if page.following is None:
                return
            cursor = page.following

    def newest(self) -> Entry | None:
        """Return the record that was logged last, whatever it says.

        Raises:
            click.ClickException: As `select`.
        """
        entries = self._page(limit=1).entries
        return entries[0] if entries else None

    def select_with_context(self, query: Query, records: int) -> Iterator[Found]:
        """Yield what a query asks for, each with so many records before and after it.

        Raises:
            click.ClickException: As `select`.
        """
        for entry in self.select(query):
            if not records:
                yield Found(entry, [entry])
                continue
            path = f"/v1/context/{entry.sealed[SEQUENCE]}"
            try:
                answer = self.peer.get(path, before=records, after=records)
            except Unreachable:
                raise
            except Failure:  # it is no longer in memory
                yield Found(entry, [entry])
            else:
                yield Found(entry, self._read_page(answer).entries)

    def entry(self, value: Mapping[str, object]) -> Entry:
        """Return a record of an answer.

        Raises:
            Unreachable: It is none.
        """
        try:
            sealed = read_sealed(value)
            return Entry(sealed, Members(value).text("id"), self.name, self._resource)
        except _UNREADABLE as error:
            self._unfit(error)

    def _page(self, **parameters: object) -> _Page:
        return self._read_page(self.peer.get("/v1/records", **parameters))

    def _read_page(self, answer: object) -> _Page:
        try:
            members = Members(cast("Mapping[str, object]", answer))
            records = members.objects("records")
            following = members.maybe_text("next")
            complete = members.value("complete")
            if not (members.has("records") and isinstance(complete, bool)):
                raise ValueError("no records")
        except (AttributeError, *_UNREADABLE) as error:
            self._unfit(error)
        if not complete:
            complain(
                f"{self.name} gave up looking after some seconds: what is older is "
                "missing; ask for less, as since: and task: do"
            )
        return _Page([*map(self.entry, records)], following)

    def _unfit(self, error: Exception) -> NoReturn:
        raise Unreachable(
            f"{self.name} answers what is not understood here ({error}): see "
            "'otel-tasklog ps' for its version"
        ) from None


class PeerTail:
    """What a process logs from now on, and what it logged last.

    Args:
        source: The process.
        query: Which records.
        sleep: Waits so many seconds before the process is asked again.

    Attributes:
        source: The process; after it was lost and found, as it answered then.
    """

    def __init__(
        self,
        source: PeerSource,
        query: Query,
        *,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self.source = source
        self._text = str(query)
        self._query = query
        self._sleep = sleep
        self._cursor: str | None = None
        self._missed = 0
        self._told = ""

    def backlog(self) -> Iterator[Entry]:
        """Yield what the query finds by now, the oldest first; `follow` goes on there.

        Without it `follow` begins with all that is in memory.

        Raises:
            click.ClickException: The process cannot be asked.
        """
        newest = self.source.newest()
        self._cursor = newest.id if newest is not None else None
        entries = self.source.select(self._query)
        if self._query.newest_first:
            entries = reversed([*entries])
        # The last of them may be later than the newest of a moment ago.
        yield from map(self._seen, entries)

    def follow(self) -> Iterator[Entry]:
        """Yield what comes, until the process has ended. Blocks its thread.

        Raises:
            click.ClickException: The process refuses the question.
        """
        while True:
            try:
                yield from map(self._seen, self.source.after(self._text, self._cursor))
                yield from map(self._seen, self._live())
            except Unreachable as failure:
                # Whether it has ended is found out now; what it refuses is told.
                if failure.state == "refused":
                    self._tell_once(failure.message)
            if not self._find_again():
                return

    def _seen(self, entry: Entry) -> Entry:
        self._cursor = entry.id
        return entry

    def _live(self) -> Iterator[Entry]:
        self._missed = 0
        # Without a cursor there was nothing in memory a moment ago.
        start: dict[str, object] = {"cursor": self._cursor}
        if self._cursor is None:
            start = {"backlog": RECORDS}
        for line in self.source.peer.lines("/v1/tail", q=self._text, **start):
            try:
                value: object = json.loads(line)
            except _UNREADABLE:
                value = None
            match value:
                case {"end": str()}:
                    return
                case {"missed": int(missed)}:
                    self._tell(f"{missed - self._missed} came faster than read")
                    self._missed = missed
                case {"gap": str(gap)}:
                    self._tell(gap)
                case dict():
                    yield self.source.entry(cast("dict[str, object]", value))
                case _:
                    raise Unreachable(f"{self.source.name} sends what is no JSON")

    def _tell(self, text: str) -> None:
        complain(f"{self.source.name}: records are missing here: {text}")

    def _tell_once(self, text: str) -> None:
        if text != self._told:
            self._told = text
            complain(text)

    def _find_again(self) -> bool:
        """Connect to the same process once more; return whether it is still there."""
        peer = self.source.peer
        place = peer.place
        peer.close()
        while True:
            self._sleep(RETRY_SECONDS)
            if place is None or not is_running(place.pid) or not place.path.exists():
                return False
            try:
                found = open_place(place)
            except Unreachable as failure:
                if failure.state == "gone":  # it is dead, if not yet buried
                    return False
                continue
            if _identity(found) != _identity(peer):
                found.close()
                return False
            self.source = PeerSource(found)
            return True


def _identity(peer: Peer) -> tuple[object, ...]:
    answer = peer.info.answer
    return peer.info.pid, answer.get("started_ns"), answer.get("service_instance_id")
