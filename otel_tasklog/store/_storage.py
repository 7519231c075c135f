"""What a place that keeps records can do, and the numbers that tell how it went."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._query import Query

__all__ = ["LogStorage", "Stats"]


class LogStorage(Protocol):
    """A place that keeps records: the ring, later a database or Loki."""

    def select(self, query: Query) -> Sequence[TaskRecord]:
        """Return the records that a query asks for, in the order it asks for."""
        ...

    def clear(self) -> None:
        """Forget every record."""
        ...


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Stats:
    """What became of the records of one TaskLog, at one moment.

    At any moment ``accepted + recovered == delivered + rejected + dropped +
    spooled + pending``. Each number is counted where it happens.

    Attributes:
        captured: Records that passed the handler's level and filters.
        accepted: Those of them handed to delivery; the rest is below the export
            level, or nothing is exported.
        recovered: Records of processes that are dead, found in the spool.
        delivered: Records that the receiver took.
        rejected: Records that the receiver refused for good.
        rejected_by: The same by reason, for example ``"http 400"``.
        dropped: Records given up here.
        dropped_by: The same by reason: ``"buffer_full"``, ``"closed"``.
        dropped_bytes: What those took: estimated before, exact after encoding.
        dropped_bytes_by: The same by reason.
        spooled: Records on disk alone, until there is room in memory or another
            process takes them.
        spooled_bytes: What the files take, those of records in memory included.
        pending: Records in memory, waiting or on their way.
        pending_bytes: What they take, estimated before and exact after encoding.
        in_flight: Those of `pending` that were sent at least once: on their way, or
            waiting for another attempt.
        lag_seconds: How old the oldest of `pending` is, by its own time; 0.0 if there
            is none, None if nothing is exported.
        kept: Records in the ring, including those not yet finished.
        kept_bytes: What the finished ones take, estimated.
        evicted: Records that the ring's bounds cost.
        dropped_attributes: How many attributes of finished records there was no room
            for, by the limits.
        loop_lag_seconds: For how long a callback had to wait for its event loop in
            the last minute, at worst; None if no loop is watched.
        live_tasks: asyncio tasks that are not done, of the loops that are known.
        last_error: What the receiver last said instead of taking a batch, or None.
    """

    captured: int
    accepted: int
    recovered: int
    delivered: int
    rejected: int
    rejected_by: Mapping[str, int]
    dropped: int
    dropped_by: Mapping[str, int]
    dropped_bytes: int
    dropped_bytes_by: Mapping[str, int]
    spooled: int
    spooled_bytes: int
    pending: int
    pending_bytes: int
    in_flight: int
    lag_seconds: float | None
    kept: int
    kept_bytes: int
    evicted: int
    dropped_attributes: int
    loop_lag_seconds: float | None
    live_tasks: int
    last_error: str | None
