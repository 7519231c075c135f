"""The same calls from four threads at once, by the wall clock.

All threads wait at a barrier; the time is from there to the last one's end, by the
number of calls. Workers compete for the interpreter meanwhile, as they would, and so
both sides have the same to do: ours and the official exporter deliver over HTTP to
the same sink. With an exporter that does nothing the official pipeline has no work
left for its worker, which ours, encoding and sending, has: that row compares unlike
things, and is there to be seen.

Handlers that run under logging's handler lock can form a convoy: each release wakes
a thread that waits for it, and each call then costs a change of threads. Whether it
forms differs from run to run, so these numbers move more than others.
"""

from __future__ import annotations

import contextlib
import threading
import time
from typing import TYPE_CHECKING

from call import log_info
from peers import OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE
from pipelines import FLOOR, OURS, open_pipeline
from rounds import medians
from rows import Result, Row
from sink import running_sink

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines import Pipeline
    from rounds import Scale

__all__ = ["run"]

THREADS = 4


def _timed(line: Pipeline, calls: int) -> Callable[[], float]:
    def once() -> float:
        ready = threading.Barrier(THREADS + 1)

        def log() -> None:
            ready.wait()
            log_info(line.log, calls)

        threads = [threading.Thread(target=log) for _ in range(THREADS)]
        for thread in threads:
            thread.start()
        ready.wait()
        before = time.perf_counter()
        for thread in threads:
            thread.join()
        spent = time.perf_counter() - before
        line.settle()
        return spent / (THREADS * calls) * 1e6

    return once


def run(scale: Scale) -> Result:
    """Measure calls from several threads."""
    calls = scale.pick(100, 2_000, 2_000)
    peers = (OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE)
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        variants = {
            name: _timed(stack.enter_context(open_pipeline(name, sink)), calls)
            for name in (FLOOR, OURS, *peers)
        }
        rounds, turns = scale.pick((1, 1), (5, 1), (21, 3))
        found = medians(variants, rounds, turns=turns, collect=False)
    rows = [
        Row(
            what=f"added wall a call, {THREADS} threads", peer=peer, unit="us",
            ours=found[OURS] - found[FLOOR], theirs=found[peer] - found[FLOOR],
            bar=20 if peer == OFFICIAL_HTTP else None,
            stretch=40 if peer == OFFICIAL_HTTP else None,
        )
        for peer in peers
    ]  # fmt: skip
    return Result(rows=rows, detail=[f"the floor itself, {found[FLOOR]:.2f} us."])
