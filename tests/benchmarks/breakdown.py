"""Where the time of a log call goes: the stages of ours, one after the other.

In place: the same bursts through a handler whose records stop after a stage,
interleaved; each number is what the stage adds to the one before. Alone: what the
capture asks Python for, on one record, in a loop, which is warmer than life.
"""

from __future__ import annotations

import itertools
import logging
import time
import timeit
from asyncio import current_task
from collections import deque
from typing import TYPE_CHECKING

from opentelemetry.context import get_current
from pipelines import Pipeline, logger_of
from rounds import medians

from otel_tasklog import Config, TaskLog
from otel_tasklog.delivery._buffer import Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from rounds import Scale

    from otel_tasklog.capture._record import Captured

__all__ = ["breakdown"]

CALLS = 250


def _stopped(name: str, accept: Callable[[Captured], None]) -> logging.Logger:
    """Return a logger whose records are captured, then handed over to *accept*."""
    tasklog = TaskLog(Config(exporter=None))
    tasklog.port.accept = accept
    return logger_of(name, tasklog.handler)


def _in_place(
    floor: Pipeline,
    ours: Pipeline,
    burst: Callable[[logging.Logger, int], None],
    scale: Scale,
) -> list[str]:
    kept: deque[Captured] = deque()
    intake = Intake(limits=(1 << 30, 1 << 40), export_level=0, start=lambda: True)
    intake.parked = False
    loggers = {
        "the call itself (floor)": floor.log,
        "capture": _stopped("captured", lambda _: None),
        "keeping it: memory, its collector": _stopped("kept", kept.append),
        "accept: sizes, bounds, wake-up": _stopped("accepted", intake.accept),
        "a worker beside it": ours.log,
    }

    def timed(log: logging.Logger) -> float:
        before = time.thread_time()
        burst(log, CALLS)
        spent = time.thread_time() - before
        kept.clear()
        intake.waiting.clear()
        intake.waiting_bytes = 0
        while not intake.inbox.empty():
            intake.inbox.get()
        ours.settle()
        return spent / CALLS * 1e6

    rounds, bursts = scale.pick((1, 1), (9, 8), (31, 16))
    variants = {name: lambda log=log: timed(log) for name, log in loggers.items()}
    found = list(medians(variants, rounds, turns=bursts, collect=False).items())
    return [f"{found[0][1]:6.2f} us  {found[0][0]}"] + [
        f"{after - before:+6.2f} us  {name}"
        for (_, before), (name, after) in itertools.pairwise(found)
    ]


def _alone(scale: Scale) -> list[str]:
    record = logging.getLogger("benchmark").makeRecord(
        "benchmark", logging.INFO, __file__, 1, "task %d step %s", (5, "x"), None,
        "function", {"user": "u-17", "amount": 5},
    )  # fmt: skip

    def identity() -> None:
        task = current_task()
        assert task is not None
        task.get_name()

    steps: dict[str, Callable[[], object]] = {
        "a function call, included below": lambda: None,
        "the text, with its arguments": record.getMessage,
        "the running task and its name": identity,
        "OpenTelemetry's context": get_current,
    }
    calls = scale.pick(100, 50_000, 50_000)
    return [
        f"{spent / calls * 1e6:6.2f} us  {name}"
        for name, step in steps.items()
        for spent in [
            min(timeit.repeat(step, number=calls, repeat=5, timer=time.thread_time))
        ]
    ]


def breakdown(
    floor: Pipeline,
    ours: Pipeline,
    burst: Callable[[logging.Logger, int], None],
    scale: Scale,
) -> str:
    """Return a Markdown block to print. In a running asyncio task."""
    lines = [
        "Where the time of a call alone goes, in place, each above the one before:",
        *_in_place(floor, ours, burst, scale),
        "",
        "What the capture asks Python and OpenTelemetry for, alone and warm:",
        *_alone(scale),
    ]
    return "\n".join(["```text", *lines, "```"])
