"""The same calls from four threads at once, by the wall clock.

All threads wait at a barrier; the time is from there to the last one's end, by the
number of calls. Workers compete for the interpreter meanwhile, as they would.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

import pipelines
from call import log_info
from rounds import medians
from rows import Result, Row
from sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines import Pipeline

__all__ = ["run"]

THREADS = 4
CALLS = 2_000
NOTES = [
    (
        "The official handler, and QueueHandler, run under logging's handler lock, "
        "for which the threads queue; ours overrides Handler.handle and takes none."
    ),
]


def _timed(pipeline: Pipeline) -> Callable[[], float]:
    def once() -> float:
        ready = threading.Barrier(THREADS + 1)

        def log() -> None:
            ready.wait()
            log_info(pipeline.log, CALLS)

        threads = [threading.Thread(target=log) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        ready.wait()
        before = time.perf_counter()
        for thread in threads:
            thread.join()
        spent = time.perf_counter() - before
        pipeline.settle()
        return spent / (THREADS * CALLS) * 1e6

    return once


def run(*, quick: bool) -> Result:
    """Measure calls from several threads."""
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        lines = {
            "floor": stack.enter_context(pipelines.floor()),
            "ours": stack.enter_context(pipelines.ours(sink.endpoint)),
            "official": stack.enter_context(pipelines.official()),
            "queue": stack.enter_context(pipelines.queue_handler()),
        }
        variants = {name: _timed(line) for name, line in lines.items()}
        found = medians(variants, 5 if quick else 15)
    added = {name: total - found["floor"] for name, total in found.items()}
    what = f"added wall a call, {THREADS} threads"
    rows = [
        Row(
            what=what, peer="official handler + batch", unit="us", ours=added["ours"],
            theirs=added["official"], bar=20, stretch=40,
        ),
        Row(
            what=what, peer="QueueHandler + listener", unit="us", ours=added["ours"],
            theirs=added["queue"],
        ),
    ]  # fmt: skip
    return Result(rows=rows, notes=NOTES)
