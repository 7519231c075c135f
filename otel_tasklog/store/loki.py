"""Records that have reached Loki, asked for by the same queries as those in memory.

::

    LokiStorage(url)        in threads                 ┐
    AsyncLokiStorage(url)   in an event loop           ┘ the same steps, _loki_search
        query(text, **filters), select(Query)    POST /loki/api/v1/query_range, in pages
        follow(text, **filters)                  ws   /loki/api/v1/tail, and query_range

A query is compiled to LogQL by `_logql_query`, and what comes back is tested once more by the
query itself: an answer has what memory would have given, as far as Loki kept it.
`_loki_records` says what that is.

Needs the extra ``loki``; ``follow`` is why it brings a websocket.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from typing import TYPE_CHECKING, Final

from otel_tasklog.capture._record import TaskRecord
from otel_tasklog.store._loki_client import AsyncConnection, Connection
from otel_tasklog.store._loki_following import Following
from otel_tasklog.store._loki_storage import LogQL, Storage
from otel_tasklog.store._loki_tail import Tail
from otel_tasklog.store._query import Conditions, Query

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from concurrent.futures import Future
    from typing import Self, Unpack

    from otel_tasklog.store._loki_records import Stored
    from otel_tasklog.store._loki_storage import Options
    from otel_tasklog.store._query import Filters

__all__ = ["AsyncLokiStorage", "LogQL", "LokiStorage"]

NAP_SECONDS: Final = 1.0
"""How long a thread that waits for a record sleeps at once: a signal may wait as long."""

CLOSE_SECONDS: Final = 5.0


class LokiStorage(Storage):
    """The records of a Loki, in threads: a `LogStorage`. Threads may share it.

    Args:
        url: Its address, ``http://localhost:3100`` for example: what comes before
            ``/loki/api``.
        labels: Of the streams to look at, by Loki's names:
            ``{"service_name": "shop"}``. Loki reads only these, so one saves time.
        tenant: Its ``X-Scope-OrgID``, if it has several.
        username: For basic authentication, with `password`.
        password: Likewise.
        token: For bearer authentication, instead.
        headers: Of each request, besides.
        certificate_file: The authorities to trust, instead of the system's.
        client_certificate_file: For TLS with a client's certificate.
        client_key_file: Its key.
        timeout_seconds: How long a step of a request may take.
        attempts: How often a request is sent, at most, that Loki does not answer, or
            answers with 429 or 5xx.
        page_records: How many records a request asks for. Loki's
            ``max_entries_limit_per_query`` is 5,000 unless it is configured.
        history_seconds: How far back a query goes that does not say; 7 days.

    Raises:
        ConfigError: A setting cannot have its value.
        MissingExtraError: The extra ``loki`` is not installed.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(url, **options)
        self._connection = Connection(self.settings)

    def query(
        self, search: str = "", /, **filters: Unpack[Filters]
    ) -> list[TaskRecord]:
        """Return records, as `TaskLog.query` does.

        They come in the order of time; all have the sequence 0, for Loki keeps none.
        What attributes hold is text, and their names are Loki's.

        Args:
            search: The query's text.
            **filters: Its keywords, but for ``after`` and ``before``.

        Raises:
            ConfigError: The query means nothing.
            StorageError: Loki refuses, or does not answer.
        """
        return self.select(Query.parse(search, **filters))

    def select(self, query: Query) -> list[TaskRecord]:
        """Return the records that a query asks for, in the order it asks for.

        Raises:
            ConfigError: It is about sequences.
            StorageError: Loki refuses, or does not answer.
        """
        return [TaskRecord(each.sealed) for each in self.stored(query)]

    def stored(
        self, query: Query, within: tuple[int, int] | None = None
    ) -> Iterator[Stored]:
        """Yield the same with the attributes of the resource, a page at a time.

        Args:
            query: The query.
            within: From when to before when, in nanoseconds since the epoch, instead of
                what the query says.
        """
        for page in self._connection.run(self.question(query).steps(within)):
            yield from page

    def follow(
        self,
        search: str = "",
        /,
        *,
        backlog_records: int | None = None,
        **filters: Unpack[Conditions],
    ) -> Iterator[TaskRecord]:
        """Return records as Loki gets them, for ever; blocks its thread.

        None comes twice. One that arrives while the connection is lost comes
        afterwards, unless it is more than a minute older than the newest.

        Args:
            search: The query's text.
            backlog_records: So many of the newest that there are come first, at most;
                None is none, with ``since`` all.
            **filters: Its keywords.

        Raises:
            ConfigError: The query means nothing.
            MissingExtraError: The extra ``loki`` is not installed.
            StorageError: At a record: Loki refuses. It is waited for one that does not
                answer.
        """
        tail = self.tail(search, backlog_records, filters)
        return (TaskRecord(each.sealed) for each in self._followed(tail))

    def stored_as_they_come(self, query: Query) -> Iterator[Stored]:
        """Yield the same with the attributes of the resource; `query` has the backlog.

        Raises:
            MissingExtraError: As `follow`.
        """
        return self._followed(Tail(self.question(query), self.search))

    def _followed(self, tail: Tail) -> Iterator[Stored]:
        # In an event loop of its own: httpx2's websocket for threads has threads that
        # an interpreter waits for at its end, here for ever.
        loop = asyncio.new_event_loop()
        thread = threading.Thread(
            target=loop.run_forever, name="loki tail", daemon=True
        )
        thread.start()
        following = Following(self.settings, tail)
        try:
            while True:
                record = asyncio.run_coroutine_threadsafe(following.next(), loop)
                yield _result(record)
        finally:
            closed = asyncio.run_coroutine_threadsafe(following.close(), loop)
            with contextlib.suppress(TimeoutError):
                closed.result(CLOSE_SECONDS)
            loop.call_soon_threadsafe(loop.stop)
            thread.join(CLOSE_SECONDS)
            if not thread.is_alive():
                loop.close()

    def close(self) -> None:
        """Hang up. From any thread."""
        self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        self.close()


class AsyncLokiStorage(Storage):
    """The same in an event loop; `LokiStorage` says what each argument means.

    Its methods are coroutines, and its `follow` is for ``async for``.
    """

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        super().__init__(url, **options)
        self._connection = AsyncConnection(self.settings)

    async def query(
        self, search: str = "", /, **filters: Unpack[Filters]
    ) -> list[TaskRecord]:
        """Return records, as `LokiStorage.query` does.

        Raises:
            ConfigError: The query means nothing.
            StorageError: Loki refuses, or does not answer.
        """
        return await self.select(Query.parse(search, **filters))

    async def select(self, query: Query) -> list[TaskRecord]:
        """Return the records that a query asks for, in the order it asks for.

        Raises:
            ConfigError: It is about sequences.
            StorageError: Loki refuses, or does not answer.
        """
        steps = self.question(query).steps()
        return [
            TaskRecord(each.sealed)
            async for page in self._connection.run(steps)
            for each in page
        ]

    def follow(
        self,
        search: str = "",
        /,
        *,
        backlog_records: int | None = None,
        **filters: Unpack[Conditions],
    ) -> AsyncIterator[TaskRecord]:
        """Return records as Loki gets them, as `LokiStorage.follow` does.

        Raises:
            ConfigError: The query means nothing.
            MissingExtraError: The extra ``loki`` is not installed.
            StorageError: As there.
        """
        return self._followed(self.tail(search, backlog_records, filters))

    async def _followed(self, tail: Tail) -> AsyncIterator[TaskRecord]:
        following = Following(self.settings, tail)
        try:
            while True:
                yield TaskRecord((await following.next()).sealed)
        finally:
            await following.close()

    async def close(self) -> None:
        """Hang up."""
        await self._connection.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *raised: object) -> None:
        await self.close()


def _result(record: Future[Stored]) -> Stored:
    # Not in one stretch: on Windows no signal is heard meanwhile.
    while True:
        with contextlib.suppress(TimeoutError):
            return record.result(NAP_SECONDS)
        if record.done():
            return record.result()
