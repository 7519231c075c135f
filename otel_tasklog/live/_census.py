"""How many asyncio tasks there are."""

from __future__ import annotations

from otel_tasklog.capture._tasks import seen_loops
from otel_tasklog.live._waits import all_tasks

__all__ = ["count_tasks"]


def count_tasks() -> int:
    """Return how many tasks are alive in the event loops that are known.

    From any thread. A loop whose tasks come and go too fast to be counted counts for
    none.
    """
    loops, _ = seen_loops()
    return sum(len(all_tasks(loop) or ()) for loop in loops if not loop.is_closed())
