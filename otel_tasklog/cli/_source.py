"""Where records are read from: processes and files, and later databases, alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from otel_tasklog.capture._record import TIMESTAMP_NS, TaskRecord

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.capture._values import Value
    from otel_tasklog.store._query import Query

__all__ = ["Entry", "Found", "Source"]


class Entry(NamedTuple):
    """A record, and what its source knows of it.

    Attributes:
        sealed: The record.
        id: As the API makes it, or alike.
        source: The name of the source.
        resource: The attributes of its resource, as far as the source knows them.
    """

    sealed: Sealed
    id: str
    source: str
    resource: Mapping[str, Value]

    @property
    def record(self) -> TaskRecord:
        """The record, with names."""
        return TaskRecord(self.sealed)

    @property
    def key(self) -> tuple[str, str]:
        """What tells it from all others."""
        return self.source, self.id

    @property
    def timestamp_ns(self) -> int:
        """When it was logged."""
        moment: int = self.sealed[TIMESTAMP_NS]
        return moment


class Found(NamedTuple):
    """A record that was found, with those around it.

    Attributes:
        entry: The record.
        around: It and its neighbours, the oldest first.
    """

    entry: Entry
    around: list[Entry]

    @property
    def timestamp_ns(self) -> int:
        """When the record was logged."""
        return self.entry.timestamp_ns


class Source(Protocol):
    """A place that has records."""

    @property
    def name(self) -> str:
        """What it is called where there are several; printable."""
        ...

    def select(self, query: Query) -> Iterator[Entry]:
        """Yield what a query asks for, in its order, fetched as it is read.

        Raises:
            click.ClickException: It cannot be read, or not to the end.
        """
        ...

    def select_with_context(self, query: Query, records: int) -> Iterator[Found]:
        """Yield the same, each with so many records before and after it.

        Raises:
            click.ClickException: As `select`.
        """
        ...
