"""What a log call adds on the caller's thread, over a handler that does nothing.

Inside a running asyncio task, bursts of calls, each pipeline settled between its
bursts. The clock is ``time.thread_time`` of the calling thread: CPU that the
worker of any pipeline uses meanwhile is not in it, but what its presence costs
the caller (hand-overs of the interpreter, cold caches) is. Ours delivers over
HTTP to a sink in another process meanwhile; the official exporter does nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from typing import TYPE_CHECKING

import pipelines
from breakdown import breakdown
from rounds import medians
from rows import Result, Row
from sink import running_sink

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from pipelines import Pipeline

__all__ = ["run"]

FRAMES = 8
BURSTS = 4
NOTES = [
    (
        "The official handler formats the message, translates the record and checks "
        "its attributes in the call; it enforces attribute limits and calls every "
        "processor of its provider, which we do not. Ours records the task, its job "
        "and its parent, keeps the record for queries, redacts secrets, and shows the "
        "code location; the official handler does not, at its defaults."
    ),
    (
        "QueueHandler formats in the call and hands on a LogRecord; it bounds nothing, "
        "keeps nothing, knows no task and no trace. It copies no mutable extra."
    ),
]


def log_info(log: logging.Logger, calls: int) -> None:
    """Log the message that all is measured with."""
    for i in range(calls):
        log.info("task %d step %s", i, "x", extra={"user": "u-17", "amount": i})


def _raise(depth: int) -> None:
    if depth:
        _raise(depth - 1)
    raise ValueError("the payment was refused")


def log_exception(log: logging.Logger, calls: int) -> None:
    """Log an exception with a traceback of `FRAMES` frames."""
    for i in range(calls):
        try:
            _raise(FRAMES - 2)
        except ValueError:
            log.exception("task %d failed", i, extra={"user": "u-17", "amount": i})


def _timed(
    pipeline: Pipeline, burst: Callable[[logging.Logger, int], None], calls: int
) -> Callable[[], float]:
    def once() -> float:
        spent = 0.0
        for _ in range(BURSTS):
            before = time.thread_time()
            burst(pipeline.log, calls)
            spent += time.thread_time() - before
            pipeline.settle()
        return spent / calls / BURSTS * 1e6

    return once


async def _measure(
    rounds: int,
) -> tuple[dict[str, float], dict[str, float], list[str]]:
    with contextlib.ExitStack() as stack:
        sink = stack.enter_context(running_sink())
        lines = {
            "floor": stack.enter_context(pipelines.floor()),
            "ours": stack.enter_context(pipelines.ours(sink.endpoint)),
            "official": stack.enter_context(pipelines.official()),
            "queue": stack.enter_context(pipelines.queue_handler()),
        }
        infos = {name: _timed(each, log_info, 500) for name, each in lines.items()}
        errors = {name: _timed(each, log_exception, 50) for name, each in lines.items()}
        return (
            medians(infos, rounds),
            medians(errors, rounds),
            breakdown(lines, log_info, rounds),
        )


def run(*, quick: bool) -> Result:
    """Measure plain calls and calls with an exception."""
    found = asyncio.run(_measure(9 if quick else 31))
    rows = []
    for what, totals, bar, stretch in (
        ("added to a call, two extras", found[0], 7, 12),
        (f"added to logger.exception, {FRAMES} frames", found[1], 40, 60),
    ):
        added = {name: total - totals["floor"] for name, total in totals.items()}
        official = Row(
            what=what, peer="official handler + batch", unit="us", ours=added["ours"],
            theirs=added["official"], bar=bar, stretch=stretch,
        )  # fmt: skip
        by_queue = Row(
            what=what, peer="QueueHandler + listener", unit="us", ours=added["ours"],
            theirs=added["queue"],
        )  # fmt: skip
        rows += [official, by_queue]
    floors = ", ".join(f"{totals['floor']:.2f}" for totals in found[:2])
    return Result(
        rows=rows,
        notes=NOTES,
        detail=[
            f"The floor itself, with the call that both have: {floors} us.",
            *found[2],
        ],
    )
