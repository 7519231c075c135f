"""What a log call adds on the caller's thread, over a handler that does nothing.

Inside a running asyncio task, bursts of calls, each pipeline settled between its
bursts. The clock is ``time.thread_time`` of the calling thread: CPU that the
worker of any pipeline uses meanwhile is not in it, but what its presence costs
the caller (hand-overs of the interpreter, cold caches) is.

Ours and the official pipeline both deliver over HTTP to the same sink in another
process, and both are measured in two ways. *Alone*: bursts of so few calls that
neither's worker is woken for a full batch. *Beside a worker*: bursts of several
batches, so that both workers encode and send while the calls go on. The pipelines
take turns burst by burst, and a round, whose mean counts, has many of them. The garbage
collector is left to itself: the records that wait make its passes due, on both
sides, and a round is long enough to have some of them in it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

from breakdown import breakdown
from peers import ASYNCZ, OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE, STRUCTLOG
from pipelines import FLOOR, OURS, open_pipeline
from rounds import medians
from rows import Result, Row
from sink import running_sink

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from pipelines import Pipeline
    from rounds import Scale

__all__ = ["log_info", "run"]

FRAMES = 8
ALONE = 250
BESIDE = 2_000
"""Calls a burst. A batch has 512 records on both sides."""


def log_info(log: logging.Logger, calls: int) -> None:
    """Log the message that all is measured with."""
    for i in range(calls):
        log.info("task %d step %s", i, "x", extra={"user": "u-17", "amount": i})


def _raise(depth: int) -> None:
    if depth:
        _raise(depth - 1)
    raise ValueError("the payment was refused")


def _log_exception(log: logging.Logger, calls: int) -> None:
    """Log an exception with a traceback of `FRAMES` frames."""
    for i in range(calls):
        try:
            _raise(FRAMES - 2)
        except ValueError:
            log.exception("task %d failed", i, extra={"user": "u-17", "amount": i})


def _timed(
    line: Pipeline,
    burst: Callable[[logging.Logger, int], None],
    calls: int,
) -> Callable[[], float]:
    def once() -> float:
        before = time.thread_time()
        burst(line.log, calls)
        spent = time.thread_time() - before
        line.settle()
        return spent / calls * 1e6

    return once


async def _measure(scale: Scale) -> tuple[list[dict[str, float]], str]:
    rounds, bursts = scale.pick((1, 1), (5, 16), (15, 64))
    names = (FLOOR, OURS, OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE, STRUCTLOG, ASYNCZ)
    found = []
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        lines = {name: stack.enter_context(open_pipeline(name, sink)) for name in names}
        for burst, calls, bursts_each in (
            (log_info, ALONE, bursts),
            (log_info, BESIDE, max(bursts * ALONE // BESIDE, 1)),
            (_log_exception, ALONE, max(bursts // 16, 1)),
        ):
            variants = {
                name: _timed(line, burst, calls) for name, line in lines.items()
            }
            found.append(medians(variants, rounds, turns=bursts_each, collect=False))
            sink.count()
        return found, breakdown(lines[FLOOR], lines[OURS], log_info, scale)


def run(scale: Scale) -> Result:
    """Measure plain calls and calls with an exception."""
    found, where = asyncio.run(_measure(scale))
    rows = []
    for (what, bar, stretch, peers), totals in zip(
        (
            (
                "added to a call, alone",
                *(7, 12),
                (OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE, STRUCTLOG, ASYNCZ),
            ),
            (
                "added to a call, beside a worker",
                *(7, 12),
                (OFFICIAL_HTTP, OFFICIAL_NULL, QUEUE),
            ),
            (
                f"added to logger.exception, {FRAMES} frames",
                *(40, 60),
                (OFFICIAL_HTTP, QUEUE, STRUCTLOG),
            ),
        ),
        found,
        strict=True,
    ):
        for peer in peers:
            held = peer == OFFICIAL_HTTP
            row = Row(
                what=what, peer=peer, unit="us",
                ours=totals[OURS] - totals[FLOOR], theirs=totals[peer] - totals[FLOOR],
                bar=bar if held else None, stretch=stretch if held else None,
            )  # fmt: skip
            rows.append(row)
    floors = ", ".join(f"{totals[FLOOR]:.2f}" for totals in found)
    return Result(
        rows=rows,
        detail=[f"the floor itself, with the call that all have, {floors} us.", where],
    )
