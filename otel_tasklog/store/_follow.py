"""Followers: records as they come, for readers that nobody waits for.

::

    worker ─► Followers.publish ─► Feed ─► Follower     one of each pair per reader

Guarantees:

* The log call knows nothing of it. The worker hands over what it has finished, so
  a follower costs the loggers neither a lock nor a wake-up.
* A slow reader loses records, the oldest first, and `Follower.missed` counts them.
* What goes wrong with a reader ends with it: it was cancelled, its loop was closed,
  it was forgotten, its filters raise. `Followers` keeps none of them alive.
"""

from __future__ import annotations

import asyncio
import sys
from contextlib import suppress
from functools import partial
from itertools import takewhile
from queue import Empty, SimpleQueue
from typing import TYPE_CHECKING, Final, Protocol
from weakref import ref

from otel_tasklog._config import check_names
from otel_tasklog._errors import ClosedError, ConfigError, FollowerError
from otel_tasklog.capture._record import SEQUENCE
from otel_tasklog.capture._values import shown
from otel_tasklog.store._feed import Feed
from otel_tasklog.store._query import Conditions, Filters, Query
from otel_tasklog.store._search import check_count

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence
    from contextlib import AbstractContextManager
    from typing import Self

    from otel_tasklog.capture._record import Captured, Sealed, TaskRecord
    from otel_tasklog.store._memory import Ring

__all__ = ["Follower", "Followers"]

NAP_SECONDS: Final = 1.0
"""How long a thread that waits for a record sleeps at once, at most."""


class Follower:
    """The records of a TaskLog as they come; what `TaskLog.follow` returns.

    Read it with ``async for`` in a coroutine, or with ``for`` in a thread that has
    nothing else to do: both wait for the next record. The iteration ends, after
    what is buffered, when the TaskLog is closed. Leave it with ``async with`` or
    ``with``, call `close`, or forget it: each ends the following.

    One reader at a time. A read that is cancelled or times out loses nothing.
    """

    def __init__(self, feed: Feed, leave: Callable[[], object]) -> None:
        self._feed = feed
        self._leave = leave

    @property
    def missed(self) -> int:
        """How many records were left out, since they came faster than they were read.

        The oldest unread ones are. What this counts and what was read are together
        all that matched.
        """
        return self._feed.missed

    def close(self) -> None:
        """End the iteration, also for a reader that waits. From any thread."""
        self._leave()
        self._feed.close()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> TaskRecord:
        """Return the next record, waiting for it if need be.

        Raises:
            StopAsyncIteration: The TaskLog or this follower was closed.
            FollowerError: A filter raised, or somebody else waits here.
        """
        taken = await self.take(1)
        if not taken:
            raise StopAsyncIteration
        return taken[0]

    async def take(self, max_records: int) -> list[TaskRecord]:
        """Return the next records that are there, waiting for one if need be.

        For who handles many at once: it costs less than one after the other.

        Args:
            max_records: How many at most.

        Returns:
            At least one; none if the TaskLog or this follower was closed.

        Raises:
            FollowerError: As `__anext__`.
            ConfigError: *max_records* is no number from 1 on.
        """
        check_count("max_records", max_records, least=1)
        while (taken := self._feed.take(max_records)) is None:
            came = asyncio.Event()
            wake = partial(self._tell, asyncio.get_running_loop(), came)
            with self._feed.woken_by(wake) as changed:
                if not changed:
                    await came.wait()
        return taken

    def _tell(self, loop: asyncio.AbstractEventLoop, came: asyncio.Event) -> None:
        try:
            loop.call_soon_threadsafe(came.set)
        except RuntimeError:  # the loop was closed, so nobody will go on reading
            self.close()

    def __iter__(self) -> Self:
        _refuse_in_a_coroutine()
        return self

    def __next__(self) -> TaskRecord:
        """Return the next record, blocking the thread until it comes.

        Raises:
            StopIteration: The TaskLog or this follower was closed.
            FollowerError: As `__anext__`, or this is called in a coroutine.
        """
        while (taken := self._feed.take(1)) is None:
            _refuse_in_a_coroutine()
            came: SimpleQueue[None] = SimpleQueue()
            with self._feed.woken_by(partial(came.put, None)) as changed:
                if not changed:
                    _sleep_until(came)
        if not taken:
            raise StopIteration
        return taken[0]

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        self.close()


def _sleep_until(came: SimpleQueue[None]) -> None:
    # Not in one stretch: the handler of a signal that comes just before a thread falls
    # asleep, and on Windows of any signal, waits until the thread wakes.
    while True:
        with suppress(Empty):
            return came.get(timeout=NAP_SECONDS)


def _refuse_in_a_coroutine() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise FollowerError(
        "'for' over a follower blocks its thread, here that of an event loop; "
        "use 'async for'"
    )


class Publisher(Protocol):
    """What followers need of the worker."""

    @property
    def lock(self) -> AbstractContextManager[object]:
        """Held by whoever publishes, and by whoever must not be published to."""
        ...

    def report(self, cause: str, text: str) -> None:
        """Tell the application's log, at most once per cause and interval."""
        ...


class Followers:
    """The followers of one TaskLog.

    Args:
        ring: Where the backlog comes from.
        unfinished: Returns the records that the worker has not reached yet.
        worker: Who publishes.
    """

    def __init__(
        self,
        ring: Ring,
        unfinished: Callable[[], Iterable[Captured]],
        worker: Publisher,
    ) -> None:
        self._ring = ring
        self._unfinished = unfinished
        self._worker = worker
        # Changed and copied in one step of the interpreter each, from any thread,
        # also from the garbage collector's callback.
        self._feeds: set[ref[Feed]] = set()
        self._ended = False

    def __bool__(self) -> bool:
        return bool(self._feeds)

    def follow(
        self,
        search: str,
        filters: Conditions,
        buffer_records: int,
        backlog_records: int | None,
    ) -> Follower:
        """Return a new follower; see `TaskLog.follow`."""
        _check_filters(filters)
        check_count("buffer_records", buffer_records, least=1)
        if backlog_records is None and filters.get("since") is None:
            backlog_records = 0
        if backlog_records is not None:
            check_count("backlog_records", backlog_records, least=0)
        query = Query.parse(search, **filters, limit=backlog_records)
        tests = query.predicates(self._ring.live_family)
        with self._worker.lock:  # nothing is finished meanwhile: no gap, nothing twice
            backlog: Sequence[Sealed] = ()
            if backlog_records != 0:
                backlog = self._ring.find(query)
            # Logged already, and published from now on.
            waiting = {captured[SEQUENCE] for captured in self._unfinished()}
            before = -1
            if len(backlog) == backlog_records:  # what is older is too old
                before = backlog[-1][SEQUENCE] if backlog else max(waiting, default=-1)
            lowest = min(waiting, default=sys.maxsize)
            newest = takewhile(lambda record: record[SEQUENCE] >= lowest, backlog)
            had = {record[SEQUENCE] for record in newest}
            left_out = {each for each in waiting if each <= before or each in had}
            feed = Feed(tests, reversed(backlog), buffer_records)
            if left_out:
                feed.leave_out(left_out, until=max(waiting))
            link = ref(feed, self._feeds.discard)
            self._feeds.add(link)
        if self._ended:
            raise ClosedError("follow")
        return Follower(feed, partial(self._feeds.discard, link))

    def publish(self, finished: Sequence[Sealed]) -> None:
        """Offer finished records to each. By whoever keeps the worker's lock."""
        if not self._feeds:
            return
        for link in self._feeds.copy():
            feed = link()
            if feed is None:
                continue
            try:
                feed.offer(finished)
            except Exception as error:  # noqa: BLE001 - it must not cost the others
                self._feeds.discard(link)
                failure = f"a follower ends, for a filter of it raised {shown(error)}"
                feed.end(failure)
                self._worker.report("follower", failure)

    def end(self) -> None:
        """Let them all end after what they have buffered; take no new ones."""
        self._ended = True
        for feed in self._all():
            feed.end()

    def forget(self) -> None:
        """Close them all in a forked child: their readers wait in the parent."""
        for feed in self._all():
            feed.bell = None  # it would wake the parent's event loop
            feed.close()

    def _all(self) -> list[Feed]:
        feeds = [link() for link in self._feeds.copy()]
        return [feed for feed in feeds if feed is not None]


def _check_filters(given: Mapping[str, object]) -> None:
    for name in Filters.__annotations__.keys() - Conditions.__annotations__.keys():
        if name in given:
            raise ConfigError(
                name,
                given[name],
                "no such filter: a follower gives the oldest first and goes on until "
                "it is closed; backlog_records= bounds what comes from memory",
            )
    check_names(given, Conditions.__annotations__)
