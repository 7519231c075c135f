"""A program that logs hostile records, and notes whatever reaches it.

``python -m e2e.hostile.producer ENDPOINT COUNT SEED`` prints a `Report` as JSON.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import sys
import time
from typing import Any, Final

from hostile_values import inner_records
from log_records import LOGGER, made_of

import otel_tasklog

__all__ = ["Report"]

FLUSH_EVERY: Final = 2_000
FLUSH_SECONDS: Final = 60.0
SHOWN: Final = 10


@dataclasses.dataclass(kw_only=True)
class Report:
    """What the producer did.

    Attributes:
        logged: How many records it made and handed over.
        inner: How many more its values logged while they were read.
        raised: How many calls raised.
        first_raised: Their records, and what it was.
        unflushed: How many flushes were not done in time.
        unbalanced: The first books whose two sides differ.
        stats: The last books.
        call_seconds: What all the calls took.
        worst_call_seconds: The longest.
        worst: Its record.
    """

    logged: int
    inner: int = 0
    raised: int = 0
    first_raised: list[tuple[str, str]] = dataclasses.field(
        default_factory=list[tuple[str, str]]
    )
    unflushed: int = 0
    unbalanced: list[dict[str, Any]] = dataclasses.field(
        default_factory=list[dict[str, Any]]
    )
    stats: dict[str, Any] = dataclasses.field(default_factory=dict[str, Any])
    call_seconds: float = 0.0
    worst_call_seconds: float = 0.0
    worst: str = ""


def balances(stats: dict[str, Any]) -> bool:
    """Return whether the two sides of the books are equal."""
    there = ("delivered", "rejected", "dropped", "spooled", "pending")
    return bool(
        stats["accepted"] + stats["recovered"] == sum(stats[name] for name in there)
    )


def run(endpoint: str, count: int, seed: int) -> Report:
    """Log the records of a series and deliver them."""
    report = Report(logged=count)
    logger = logging.getLogger(LOGGER)
    logger.setLevel(1)
    with otel_tasklog.install(
        service_name="hostile", endpoint=endpoint, console=False
    ) as tasklog:
        for number in range(count):
            made = made_of(seed, number)
            hand_over = logger.handle if made.passes_loggers else tasklog.handler.handle
            start = time.perf_counter()
            try:
                hand_over(made.record)
            except BaseException as error:  # noqa: BLE001 - what is looked for
                report.raised += 1
                if report.raised <= SHOWN:
                    report.first_raised.append((f"{made!r}", type(error).__name__))
            seconds = time.perf_counter() - start
            report.call_seconds += seconds
            if seconds > report.worst_call_seconds:
                report.worst_call_seconds, report.worst = seconds, f"{made!r}"
            if number % FLUSH_EVERY == FLUSH_EVERY - 1 or number == count - 1:
                report.unflushed += not tasklog.flush(FLUSH_SECONDS)
                stats = dataclasses.asdict(tasklog.stats())
                if not balances(stats):
                    report.unbalanced = report.unbalanced or [stats]
    report.stats = dataclasses.asdict(tasklog.stats())
    report.inner = next(inner_records)
    return report


def main() -> None:
    endpoint, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    print(json.dumps(dataclasses.asdict(run(endpoint, count, seed))))  # noqa: T201


if __name__ == "__main__":
    main()
