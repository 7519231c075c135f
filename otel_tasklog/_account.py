"""The books: what became of the records, from what each stage counted itself."""

from __future__ import annotations

import time
from collections import Counter as Tally
from typing import TYPE_CHECKING, NamedTuple

from otel_tasklog.capture._sizes import dropped_attributes
from otel_tasklog.store._storage import Stats

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from otel_tasklog._config import Config
    from otel_tasklog._loops import Loops
    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.delivery._buffer import Intake
    from otel_tasklog.delivery._outbox import Outbox
    from otel_tasklog.store._memory import Ring

__all__ = ["LeftOut", "Stages", "account"]


class Stages(NamedTuple):
    """What counts."""

    intake: Intake
    """What waits."""

    ring: Ring
    """What is kept."""

    outbox: Outbox | None
    """What is encoded; None if nothing is exported."""

    loops: Loops
    """The event loops."""


def account(
    stages: Stages,
    *,
    captured: int,
    taken: int,
    abandoned: int,
    dropped_attributes: int,
) -> Stats:
    """Return the books of one moment. The worker must be kept out meanwhile.

    Args:
        stages: Those that count.
        captured: How many records the handlers captured.
        taken: How many for delivery the worker took.
        abandoned: How many the end left no time to finish.
        dropped_attributes: How many attributes of them there was no room for.
    """
    intake, ring, outbox, loops = stages
    exportable = intake.exportable()
    waiting = len(intake.waiting)
    dropped_here = intake.dropped.value
    rejected, dropped, dropped_bytes = Tally[str](), Tally[str](), Tally[str]()
    if outbox is not None:
        rejected += outbox.rejected
        dropped += outbox.dropped
        dropped_bytes += outbox.dropped_bytes
        outbox.overflow.count_losses(dropped, dropped_bytes)
    # Adding leaves out what is 0.
    dropped += Tally(closed=abandoned, buffer_full=dropped_here)
    waiting_bytes = max(intake.waiting_bytes, 0)  # Ctrl-C may leave one uncounted
    abandoned_bytes = waiting_bytes if abandoned else 0
    dropped_bytes += Tally(closed=abandoned_bytes, buffer_full=intake.dropped_bytes)
    kept = ring.kept + waiting
    beyond = max(kept - ring.max_records, 0)
    pending = exportable - abandoned + (outbox.records if outbox is not None else 0)
    return Stats(
        captured=captured,
        accepted=taken + exportable + dropped_here,
        recovered=outbox.overflow.recovered if outbox is not None else 0,
        delivered=outbox.delivered if outbox is not None else 0,
        rejected=rejected.total(),
        rejected_by=dict(rejected),
        dropped=dropped.total(),
        dropped_by=dict(dropped),
        dropped_bytes=dropped_bytes.total(),
        dropped_bytes_by=dict(dropped_bytes),
        spooled=outbox.spooled if outbox is not None else 0,
        spooled_bytes=outbox.overflow.size_bytes if outbox is not None else 0,
        pending=pending,
        pending_bytes=waiting_bytes - abandoned_bytes + outbox.size_bytes
        if outbox is not None
        else 0,
        in_flight=outbox.sent_records if outbox is not None else 0,
        lag_seconds=_lag_seconds(intake, outbox, pending),
        kept=kept - beyond,
        kept_bytes=ring.kept_bytes,
        evicted=ring.evicted + dropped_here + intake.unseen.value + beyond,
        dropped_attributes=dropped_attributes,
        loop_lag_seconds=loops.lag_seconds(),
        live_tasks=loops.count_tasks(),
        last_error=outbox.last_error if outbox is not None else None,
    )


def _lag_seconds(intake: Intake, outbox: Outbox | None, pending: int) -> float | None:
    if outbox is None:
        return None
    oldest_ns = outbox.oldest_ns() if outbox.records else intake.oldest_ns()
    if oldest_ns is None or not pending:
        return 0.0
    return max(time.time_ns() - oldest_ns, 0) / 1e9


class LeftOut:
    """Counts the attributes that there was no room for, and says so.

    Args:
        config: The settings that limit them.
        report: Tells the application, at most once per cause and interval.

    Attributes:
        attributes: How many there were. The worker's to count.
    """

    def __init__(self, config: Config, report: Callable[[str, str], None]) -> None:
        self.attributes = 0
        self._config = config
        self._report = report

    def count(self, finished: Iterable[Sealed]) -> None:
        """Count those of some records."""
        attributes = dropped_attributes(finished)
        if not attributes:
            return
        self.attributes += attributes
        most = self._config.attribute_count_limit
        self._report(
            "attributes",
            f"{self.attributes} attributes of records were left out so far: they were "
            f"more than {'Loki takes' if most is None else f'the limit of {most}'}, or "
            f"more than attributes_bytes={self._config.attributes_bytes} in all. Log "
            "fewer; or, for a backend that takes more, raise attribute_count_limit and "
            "attributes_bytes",
        )
