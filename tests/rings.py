"""Finished records made by hand, and rings that hold them."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from otel_tasklog.capture._record import NO_REST, Sealed
from otel_tasklog.store._memory import Ring

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from otel_tasklog.capture._values import Value

__all__ = ["fill", "make_ring", "sealed"]


def sealed(  # noqa: PLR0913 - a record has many fields
    sequence: int,
    task_id: str | None = None,
    level: int = 20,
    message: str = "m",
    *,
    parent_id: str | None = None,
    asyncio_task: int | None = None,
    thread: int = 1,
    logger: str = "log",
    timestamp_ns: int | None = None,
    exception: str | None = None,
    trace_id: str | None = None,
    attributes: Mapping[str, Value] | None = None,
) -> Sealed:
    """Return a record of which only the sequence must be said."""
    name = logging.getLevelName(level)
    origin = (logger, level, 9, name, "p", 1, "f", thread, "t", 1)
    task_name = None if asyncio_task is None else f"Task-{asyncio_task}"
    who = (task_id, parent_id, asyncio_task, task_name, None)
    span = None if trace_id is None else (bytes.fromhex(trace_id), bytes(8), 1)
    rest: tuple[str | None, ...] = NO_REST
    if exception is not None:
        rest = (None, exception, "it failed", f"{exception}: it failed", None, None)
    when = sequence if timestamp_ns is None else timestamp_ns
    keys, values = tuple(attributes or ()), tuple((attributes or {}).values())
    return (sequence, when, origin, who, span, message, None, keys, values, rest)


def make_ring(
    *, records: int = 10**6, size_bytes: int = 10**9, waiting: Sequence[Sealed] = ()
) -> Ring:
    """Return a ring, and before it some records that nobody has finished."""
    return Ring(
        records=records,
        size_bytes=size_bytes,
        unfinished=lambda: waiting,  # type: ignore[arg-type,return-value]
        finish=list,  # type: ignore[arg-type]
    )


def fill(ring: Ring, records: Sequence[Sealed], batch: int = 64) -> None:
    """Have a ring keep records, each of one byte, in batches."""
    for start in range(0, len(records), batch):
        part = records[start : start + batch]
        ring.keep(part, [1] * len(part))
