"""What the two forms of a Loki have in common."""

from __future__ import annotations

import importlib.util
import time
from typing import TYPE_CHECKING, NamedTuple, NoReturn, TypedDict

from otel_tasklog._config import check_names
from otel_tasklog._errors import MissingExtraError, StorageError
from otel_tasklog.store._loki_client import Settings
from otel_tasklog.store._loki_tail import Tail
from otel_tasklog.store._query import Conditions, Query
from otel_tasklog.store._search import check_count

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Unpack

    from otel_tasklog._connection import FilePath
    from otel_tasklog.store._loki_search import Question, Search
    from otel_tasklog.store._query import Filters

__all__ = ["LogQL", "Options", "Storage"]


class Options(TypedDict, total=False):
    """The keywords of `LokiStorage`."""

    labels: Mapping[str, str]
    tenant: str | None
    username: str | None
    password: str | None
    token: str | None
    headers: Mapping[str, str]
    certificate_file: FilePath | None
    client_certificate_file: FilePath | None
    client_key_file: FilePath | None
    timeout_seconds: float
    attempts: int
    page_records: int
    history_seconds: float


class LogQL(NamedTuple):
    """What Loki is asked for a query.

    Attributes:
        text: The LogQL. It finds at least what the query asks for.
        start_ns: From when on, in nanoseconds since the epoch.
        end_ns: Before when.
        tested_here: The terms that LogQL cannot express at all. They are tested on what
            Loki answers, so that more is fetched than found.
    """

    text: str
    start_ns: int
    end_ns: int
    tested_here: tuple[str, ...]


class Storage:
    """What the two forms of a Loki have in common."""

    def __init__(self, url: str, **options: Unpack[Options]) -> None:
        check_names(options, Settings.__annotations__)
        self.settings: Settings = Settings(url=url, **options)
        self.search: Search = self.settings.search()

    def logql(self, search: str = "", /, **filters: Unpack[Filters]) -> LogQL:
        """Return what Loki is asked for a query, without asking it.

        Jobs inside a job, which ``under:`` asks Loki for first, are not among it yet.

        Args:
            search: The query's text.
            **filters: Its keywords.

        Raises:
            ConfigError: The query means nothing, or is about sequences.
        """
        return self.logql_of(Query.parse(search, **filters))

    def logql_of(self, query: Query) -> LogQL:
        """Return the same for a `Query`."""
        question = self.question(query)
        asked = question.compiled(complete=False)
        return LogQL(asked.logql(), *question.bounds(), asked.here)

    def question(self, query: Query) -> Question:
        return self.search.question(query, time.time_ns())

    def tail(
        self, search: str, backlog_records: int | None, filters: Conditions
    ) -> Tail:
        if importlib.util.find_spec("wsproto") is None:
            raise MissingExtraError("follow() of a Loki", "loki")
        check_names(filters, Conditions.__annotations__)
        if backlog_records is None and filters.get("since") is None:
            backlog_records = 0
        if backlog_records is not None:
            check_count("backlog_records", backlog_records, least=0)
        query = Query.parse(
            search,
            **filters,
            limit=backlog_records,
            newest_first=backlog_records is not None,
        )
        return Tail(self.question(query), self.search)

    def clear(self) -> NoReturn:
        """Refuse: Loki forgets by itself, when its retention says so.

        Raises:
            StorageError: Always.
        """
        raise StorageError(
            f"Loki at {self.search.url} is not cleared from here: it forgets what its "
            "retention_period says; its own API deletes what a LogQL query finds"
        )

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.search.url}>"
