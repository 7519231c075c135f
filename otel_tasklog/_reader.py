"""What can be asked of a TaskLog while it runs; the half of it that only reads.

No question takes a lock or waits: any thread may ask, also from within a log call,
and no log call waits for the answer.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog._config import check_names
from otel_tasklog._errors import ConfigError
from otel_tasklog._live_reader import TIMEOUT_SECONDS, LiveReader
from otel_tasklog.capture._record import TaskRecord
from otel_tasklog.live._alive import Live
from otel_tasklog.store._query import Query
from otel_tasklog.store._search import check_count
from otel_tasklog.store._summaries import Within, count, summarize

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from otel_tasklog.capture._values import Value
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.store._follow import Follower, Followers
    from otel_tasklog.store._query import Conditions, Filters
    from otel_tasklog.store._search import Found
    from otel_tasklog.store._summaries import Counts, TaskSummary

__all__ = ["Reader"]


class Reader(LiveReader):
    """Answers from the records in memory; a `TaskLog` is one.

    Attributes:
        resource: The resource's attributes, as they are sent.
        started_ns: When the counts began: with it, and in a forked child at the fork.
    """

    resource: Mapping[str, Value]
    started_ns: int
    _intake: Intake
    _followers: Followers

    def query(
        self, search: str = "", /, *, timeout_seconds: float = TIMEOUT_SECONDS,
        **filters: Unpack[Filters],
    ) -> Found[TaskRecord]:  # fmt: skip
        """Return records from the ring, the newest first unless asked otherwise.

        A record is there when its log call returns.

        Args:
            search: What `Query.parse` understands, such as
                ``level>=warning timeout``.
            timeout_seconds: If memory has not been looked through by then, the list
                holds what was found so far, and its ``complete`` is False.
            **filters: The attributes of `Query`, which says what each means. A
                record must meet them and *search*.

        Raises:
            QueryError: *search* is not in the language.
            ConfigError: A filter cannot have its value, or there is no such filter.
        """
        return self._ring.select(Query.parse(search, **filters), timeout_seconds)

    def follow(
        self, search: str = "", /, *, buffer_records: int = 1_000,
        backlog_records: int | None = None, **filters: Unpack[Conditions],
    ) -> Follower:  # fmt: skip
        """Return what is logged from now on, to be read as it comes.

        Args:
            search: As for `query`.
            buffer_records: How many may wait for a slow reader.
            backlog_records: How many from the ring come first; None: all ``since``.
            **filters: As for `query`, but for ``until``, ``limit``, ``newest_first``.

        Raises:
            ConfigError: As `query`, or a number is too low.
            ClosedError: You closed this TaskLog.
        """
        follower = self._followers.follow(
            search, filters, buffer_records, backlog_records
        )
        self._intake.wake()  # what waits already was to wait for longer
        return follower

    def tasks(
        self, search: str = "", /, *, limit: int | None = 200, alive: bool = False,
        timeout_seconds: float = TIMEOUT_SECONDS, **filters: Unpack[Within],
    ) -> Found[TaskSummary]:  # fmt: skip
        """Return what the records say of each job, the one that logged last first.

        Records outside of any job count for none.

        Args:
            search: As for `query`: which records are summarized.
            limit: How many jobs at most; None for all.
            alive: Whether to leave out those that are not, or of which that is not
                known.
            timeout_seconds: As for `query`.
            **filters: As for `query`, but for ``limit`` and ``newest_first``.

        Raises:
            ConfigError: As `query`.
        """
        check_names(filters, Within.__annotations__)
        query = Query.parse(search, **filters, limit=limit)
        found = self._ring.search(query, timeout_seconds)
        return summarize(
            found, lambda numbers: Live(numbers, self.port.clean), limit, alive=alive
        )

    def counts(
        self, search: str = "", /, *, by: str = "level",
        bucket_seconds: float | None = None, limit: int | None = 200,
        timeout_seconds: float = TIMEOUT_SECONDS, **filters: Unpack[Within],
    ) -> Counts:  # fmt: skip
        """Return how many records there are, for a histogram.

        Args:
            search: As for `query`: which records are counted.
            by: What tells them apart: ``"level"``, ``"logger"``, ``"task_id"``,
                ``"exception"`` (its type), or an attribute, such as ``"@order_id"``
                (the text of its value).
            bucket_seconds: How long each stretch of time is that is counted by
                itself; None for no such stretches.
            limit: How many different things to list, at most, the most frequent or
                the highest levels; None for all.
            timeout_seconds: As for `query`.
            **filters: As for `query`, but for ``limit`` and ``newest_first``.

        Raises:
            ConfigError: As `query`, *by* is something else, or *bucket_seconds* is
                no number above 0, or makes more than 10,000 buckets.
        """
        check_names(filters, Within.__annotations__)
        query = Query.parse(search, **filters, limit=limit)
        found = self._ring.search(query, timeout_seconds)
        return count(found, by, bucket_seconds, limit)

    def context(
        self, record: TaskRecord, *, before: int = 10, after: int = 10,
        same_task: bool = False,
    ) -> list[TaskRecord]:  # fmt: skip
        """Return a record and those around it, the oldest first.

        In the order of the log calls. If the record itself is not in memory any more,
        the ones that are nearest to it come without it.

        Args:
            record: Which, as `query` or a follower gave it.
            before: How many that were logged before it, at most.
            after: How many that were logged after it, at most.
            same_task: Whether to return records of its job alone.

        Raises:
            ConfigError: *record* is no `TaskRecord`, or a number is below 0.
        """
        if not isinstance(record, TaskRecord):
            raise ConfigError("record", record, "a TaskRecord, as query() returns it")
        check_count("before", before, least=0)
        check_count("after", after, least=0)
        return self._ring.around(
            record, before=before, after=after, same_task=same_task
        )

    def trace(
        self, trace_id: str, *, limit: int | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
    ) -> Found[TaskRecord]:  # fmt: skip
        """Return the records of one trace, the oldest first.

        Args:
            trace_id: 32 hexadecimal digits.
            limit: How many at most; None for all.
            timeout_seconds: As for `query`.

        Raises:
            ConfigError: *trace_id* is not one, or as `query`.
        """
        if not isinstance(trace_id, str):
            raise ConfigError("trace_id", trace_id, "32 hexadecimal digits")
        query = Query(trace_id=trace_id, limit=limit, newest_first=False)
        return self._ring.select(query, timeout_seconds)
