"""Where the time of a log call goes: the stages of ours, one after the other.

In place: the same bursts through handlers that stop after a stage, interleaved;
each number is what the stage adds to the one before. Alone: single steps on one
record, in a loop, which is warmer than life, so they add up to less.
"""

from __future__ import annotations

import itertools
import logging
import time
import timeit
from asyncio import (
    _get_running_loop,
    current_task,
)
from collections import deque
from typing import TYPE_CHECKING

from opentelemetry.context import get_current
from rounds import medians

from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._port import Port
from otel_tasklog.capture._tasks import current_scope
from otel_tasklog.delivery._buffer import Intake

if TYPE_CHECKING:
    from collections.abc import Callable

    from pipelines import Pipeline

    from otel_tasklog.capture._record import Captured

__all__ = ["breakdown"]

ALONE = 50_000
BURSTS, CALLS = 4, 500  # as the whole calls are measured


class _OnlyHandles(TaskLogHandler):
    """Stops before anything is captured."""

    def _capture(self, record: logging.LogRecord, port: Port) -> Captured:
        return _NOTHING


_NOTHING: Captured = (0, 0, {}, None, None, None, None, None, 0)


def _logger(
    name: str, handler: TaskLogHandler, accept: Callable[[Captured], None]
) -> logging.Logger:
    port = Port(lambda: None)
    port.accept = accept
    port.next_sequence = itertools.count().__next__
    handler.connect(port)
    log = logging.getLogger(f"benchmark.{name}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [handler]
    return log


def _in_place(
    lines: dict[str, Pipeline],
    burst: Callable[[logging.Logger, int], None],
    rounds: int,
) -> list[str]:
    kept: deque[Captured] = deque()
    intake = Intake(
        records=1 << 30, size_bytes=1 << 40, export_level=0, start=lambda: True
    )
    intake.parked = False
    loggers = {
        "the call itself (floor)": lines["floor"].log,
        "handle: filters, own threads": _logger("1", _OnlyHandles(), lambda _: None),
        "capture": _logger("2", TaskLogHandler(), lambda _: None),
        "keeping it: memory, its collector": _logger(
            "3", TaskLogHandler(), kept.append
        ),
        "accept: sizes, bounds, wake-up": _logger("4", TaskLogHandler(), intake.accept),
        "a worker beside it": lines["ours"].log,
    }

    def timed(log: logging.Logger) -> float:
        spent = 0.0
        for _ in range(BURSTS):
            before = time.thread_time()
            burst(log, CALLS)
            spent += time.thread_time() - before
            kept.clear()
            intake.waiting.clear()
            intake.waiting_bytes = 0
            while not intake.inbox.empty():
                intake.inbox.get()
            lines["ours"].settle()
        return spent / CALLS / BURSTS * 1e6

    variants = {name: lambda log=log: timed(log) for name, log in loggers.items()}
    found = list(medians(variants, 2 * rounds).items())
    return [f"  {found[0][1]:6.2f} us  {found[0][0]}"] + [
        f"  {after - before:+6.2f} us  {name}"
        for (_, before), (name, after) in itertools.pairwise(found)
    ]


def _alone() -> list[str]:
    handler = TaskLogHandler()
    record = logging.getLogger("benchmark").makeRecord(
        "benchmark", logging.INFO, __file__, 1, "task %d step %s", (5, "x"), None,
        "function", {"user": "u-17", "amount": 5},
    )  # fmt: skip
    fields = record.__dict__.copy()

    def identity() -> None:
        task = current_task(_get_running_loop())
        assert task is not None
        task.get_name()

    def contexts() -> None:
        current_scope.get()
        get_current()

    steps: dict[str, Callable[[], object]] = {
        "a function call, included below": lambda: None,
        "copy of the fields": record.__dict__.copy,
        "types and sizes": lambda: handler._make_safe(record, fields),
        "task identity": identity,
        "scope and trace context": contexts,
        "timestamp": lambda: int(fields["created"] * 1e9),
    }
    lines = []
    for name, step in steps.items():
        spent = min(timeit.repeat(step, number=ALONE, repeat=5, timer=time.thread_time))
        lines.append(f"  {spent / ALONE * 1e6:6.2f} us  {name}")
    return lines


def breakdown(
    lines: dict[str, Pipeline],
    burst: Callable[[logging.Logger, int], None],
    rounds: int,
) -> list[str]:
    """Return the lines to print. In a running asyncio task."""
    return [
        "Where the time of a call goes, in place, each above the one before:",
        *_in_place(lines, burst, rounds),
        "Steps of the capture, alone and warm:",
        *_alone(),
    ]
