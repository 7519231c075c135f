"""Queries on kept records, against AsyncZ's MemoryLogStorage.

On 100,000 records and on 1,000,000, of jobs with 200 records each.

Both hold the same records: 5 % warnings, 0.05 % errors, texts that differ. Both
ask for at most 200, the newest first, and both answers are checked to be the same
messages. ``level`` means exactly that level in both.
"""

from __future__ import annotations

import datetime
import logging
import time
from typing import TYPE_CHECKING, Any

import asyncz_logs
from peers import ASYNCZ
from rounds import medians
from rows import Result, Row

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rounds import Scale

__all__ = ["run"]

OF_A_TASK = 200
# What is asked of ours, of the peer, the bar and the stretch.
QUESTIONS: list[
    tuple[str, dict[str, Any], dict[str, Any], float | None, float | None]
] = [
    ("newest 200 of one task", {"task_id": "job-5"}, {"task_id": "job-5"}, 50, 200),
    ("a rare level", {"level": "ERROR"}, {"level": "ERROR"}, 10, 30),
    ("a text that is nowhere", {"text": "nowhere"}, {"q": "nowhere"}, 3, 4),
    ("newest 200 of all", {}, {}, None, None),
    ("a text that 1 % have", {"text": "part 7 of"}, {"q": "part 7 of"}, None, None),
    ("a task that is not there", {"task_id": "none"}, {"task_id": "none"}, None, None),
]


def _level(number: int) -> int:
    if not number % 2_000:
        return logging.ERROR
    return logging.INFO if number % 20 else logging.WARNING


def _fill_ours(records: int) -> TaskLog:
    ring = TaskLog(Config(exporter=None, ring_records=records, ring_bytes=1 << 32))
    log = logging.getLogger("benchmark.queries")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [ring.handler]
    tasks = records // OF_A_TASK
    for i in range(records):
        extra = {"task_id": f"job-{i % tasks}", "amount": i}
        log.log(_level(i), "order %d part %d of it", i, i % 100, extra=extra)
        if not i % 10_000:
            ring.flush(30.0)
    ring.flush(30.0)
    return ring


def _fill_peer(records: int) -> Any:
    storage_type, _ = asyncz_logs.load()
    storage = storage_type(maxlen=records)
    now = datetime.datetime.now(datetime.UTC)
    tasks = records // OF_A_TASK
    for i in range(records):
        entry = {
            "ts": now, "level": logging.getLevelName(_level(i)),
            "message": f"order {i} part {i % 100} of it", "logger": "benchmark",
            "task_id": f"job-{i % tasks}", "extra": {"amount": i},
        }  # fmt: skip
        storage.append(entry)
    return storage


def _timed(
    ask: Callable[..., object], filters: Mapping[str, Any]
) -> Callable[[], float]:
    def once() -> float:
        ask(**filters)
        before = time.thread_time()
        for _ in range(3):
            ask(**filters)
        return (time.thread_time() - before) / 3 * 1e6

    return once


def run(scale: Scale) -> Result:
    """Ask both the same questions."""
    rows = _ask(scale.pick(2_000, 100_000, 100_000), "", scale.pick(1, 5, 15))
    most = scale.pick(4_000, 200_000, 1_000_000)
    rows += _ask(most, f", {most:,} kept", scale.pick(1, 1, 5))
    return Result(rows=rows)


def _ask(records: int, which: str, rounds: int) -> list[Row]:
    ring, storage = _fill_ours(records), _fill_peer(records)
    rows: list[Row] = []
    for what, ours, theirs, bar, stretch in QUESTIONS:
        mine = [record.message for record in ring.query(**ours)]
        assert mine == [entry.message for entry in storage.query(**theirs)]
        variants = {
            "ours": _timed(ring.query, ours),
            "peer": _timed(storage.query, theirs),
        }
        found = medians(variants, rounds, collect=True)
        row = Row(
            what=what + which, peer=ASYNCZ, unit="us", ours=found["ours"],
            theirs=found["peer"], bar=bar, stretch=stretch,
        )  # fmt: skip
        rows.append(row)
    ring.close()
    return rows
