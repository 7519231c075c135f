"""The books: what became of the records, from what each stage counted itself."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog.store._storage import Stats

if TYPE_CHECKING:
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._outbox import Outbox
    from otel_tasklog.store._memory import Ring

__all__ = ["account"]


def account(
    intake: Intake,
    ring: Ring,
    outbox: Outbox | None,
    *,
    captured: int,
    taken: int,
    abandoned: int,
) -> Stats:
    """Return the books of one moment. The worker must be kept out meanwhile.

    Args:
        intake: What waits.
        ring: What is kept.
        outbox: What is encoded; None if nothing is exported.
        captured: How many records the handlers captured.
        taken: How many for delivery the worker took.
        abandoned: How many the end left no time to finish.
    """
    exportable = intake.exportable()
    waiting = len(intake.waiting)
    dropped_here = intake.dropped.value
    rejected = dict(outbox.rejected) if outbox is not None else {}
    dropped = dict(outbox.dropped) if outbox is not None else {}
    if abandoned:
        dropped["closed"] = dropped.get("closed", 0) + abandoned
    if dropped_here:
        dropped["buffer_full"] = dropped.get("buffer_full", 0) + dropped_here
    kept = ring.kept + waiting
    beyond = max(kept - ring.max_records, 0)
    return Stats(
        captured=captured,
        accepted=taken + exportable + dropped_here,
        recovered=0,
        delivered=outbox.delivered if outbox is not None else 0,
        rejected=sum(rejected.values()),
        rejected_by=rejected,
        dropped=sum(dropped.values()),
        dropped_by=dropped,
        spooled=0,
        pending=exportable - abandoned + (outbox.records if outbox is not None else 0),
        pending_bytes=intake.waiting_bytes + outbox.size_bytes
        if outbox is not None
        else 0,
        kept=kept - beyond,
        kept_bytes=ring.kept_bytes,
        evicted=ring.evicted + dropped_here + intake.unseen.value + beyond,
        last_error=outbox.last_error if outbox is not None else None,
    )
