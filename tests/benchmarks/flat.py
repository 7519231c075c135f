"""Whether cost grows with what is kept: a full ring of 1,000 to 1,000,000 records.

Each size in a fresh process. The ring is filled by log calls, then everything is
measured on the full ring, where each record pushes another out: a log call, above a
handler that does nothing; the worker's `Ring.keep` of a record, eviction included;
and a query for the newest 200 records of one task. Each task has 200 of them,
evenly spread over the whole ring, whatever its size. The same calls and queries go
to AsyncZ's handler and storage. CPU of the thread, the collector left to itself.
"""

from __future__ import annotations

import itertools
import json
import statistics
import sys
import time
from typing import TYPE_CHECKING, Any

import asyncz_logs
from peers import ASYNCZ
from pipelines import FLOOR, OURS, Pipeline, logger_of, open_pipeline
from rounds import child, medians, rounds_of
from rows import Result, Row, number, table
from sink import Sink

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rounds import Scale

    from otel_tasklog.capture._record import Sealed

__all__ = ["run"]

FOUND = 200
CALLS = 2_000
FILLED_AT_ONCE = 10_000


class _Keep:
    """Stands before `Ring.keep` and adds up its CPU."""

    def __init__(self, keep: Callable[[Sequence[Sealed], Sequence[int]], None]) -> None:
        self._keep = keep
        self.spent = 0.0

    def __call__(self, batch: Sequence[Sealed], sizes: Sequence[int]) -> None:
        before = time.thread_time()
        self._keep(batch, sizes)
        self.spent += time.thread_time() - before


def _log(line: Pipeline, numbers: Iterator[int], count: int, tasks: int) -> None:
    for i in itertools.islice(numbers, count):
        extra = {"task_id": f"job-{i % tasks}", "amount": i}
        line.log.info("order %d part %d of it", i, i % 100, extra=extra)


def _calls(line: Pipeline, tasks: int, rounds: int, fill: int) -> float:
    """Fill, then return what a call adds, in microseconds."""
    numbers = itertools.count()
    for start in range(0, fill, FILLED_AT_ONCE):
        _log(line, numbers, min(FILLED_AT_ONCE, fill - start), tasks)
        line.settle()

    def timed(line: Pipeline, numbers: Iterator[int]) -> float:
        before = time.thread_time()
        _log(line, numbers, CALLS, tasks)
        spent = time.thread_time() - before
        line.settle()
        return spent / CALLS * 1e6

    with open_pipeline(FLOOR, Sink(0, 0)) as floor:
        variants = {
            FLOOR: lambda: timed(floor, itertools.count()),
            OURS: lambda: timed(line, numbers),
        }
        found = medians(variants, rounds, collect=False)
    return found[OURS] - found[FLOOR]


def _queries(query: Callable[..., Any], tasks: int) -> float:
    """Return the microseconds of a query for one task; the median of some tasks."""
    spent = []
    for i in range(50):
        before = time.thread_time()
        found = query(task_id=f"job-{i % tasks}", limit=FOUND)
        spent.append(time.thread_time() - before)
        assert len(found) == FOUND
    return statistics.median(spent) * 1e6


def _measure_ours(records: int, rounds: int) -> dict[str, float]:
    config = Config(exporter=None, ring_records=records, ring_bytes=1 << 40)
    tasklog = TaskLog(config)
    keep = _Keep(tasklog._ring.keep)
    tasklog._ring.keep = keep  # type: ignore[method-assign]

    def settle() -> None:
        assert tasklog.flush(60.0)

    line = Pipeline(logger_of("ours", tasklog.handler), settle)
    tasks = records // FOUND
    _calls(line, tasks, 1, records)  # full, and once around
    keep.spent, kept = 0.0, tasklog.stats().captured
    added = _calls(line, tasks, rounds, 0)
    kept = tasklog.stats().captured - kept
    return {
        "call": added,
        "keep": keep.spent / kept * 1e6,
        "query": _queries(tasklog.query, tasks),
    }


def _measure_asyncz(records: int, rounds: int) -> dict[str, float]:
    storage_type, handler_type = asyncz_logs.load()
    storage = storage_type(maxlen=records)
    line = Pipeline(logger_of("asyncz", handler_type(storage)))
    tasks = records // FOUND
    return {
        "call": _calls(line, tasks, rounds, records),
        "query": _queries(storage.query, tasks),
    }


_MEASURED = {OURS: _measure_ours, ASYNCZ: _measure_asyncz}


def run(scale: Scale) -> Result:
    """Measure all sizes, ours and AsyncZ's."""
    sizes = scale.pick(
        (1_000, 2_000), (1_000, 10_000, 100_000), (1_000, 10_000, 100_000, 1_000_000)
    )
    times, rounds = scale.pick((1, 1), (1, 5), (3, 15))
    runs: dict[str, list[dict[str, float]]] = {}
    for case in rounds_of([f"{n} {size}" for n in _MEASURED for size in sizes], times):
        name, _, size = case.rpartition(" ")
        runs.setdefault(case, []).append(child(__file__, name, size, rounds))

    def found(name: str, size: int, key: str) -> float:
        return statistics.median(each[key] for each in runs[f"{name} {size}"])

    most, least = sizes[-1], sizes[0]
    rows = [
        Row(
            what=f"{what}, {most:,} kept", peer=f"ours, {least:,} kept", unit="us",
            ours=found(OURS, most, key), theirs=found(OURS, least, key), share=True,
        )
        for what, key in (
            ("added to a call", "call"),
            ("worker's keep", "keep"),
            ("200 of one task", "query"),
        )
    ]  # fmt: skip
    row = Row(
        what=f"200 of one task, {most:,} kept", peer=ASYNCZ, unit="us",
        ours=found(OURS, most, "query"), theirs=found(ASYNCZ, most, "query"),
    )  # fmt: skip
    rows.append(row)
    columns = (
        ("added to a call", OURS, "call"),
        ("worker's keep", OURS, "keep"),
        ("200 of one task", OURS, "query"),
        ("AsyncZ: added", ASYNCZ, "call"),
        ("AsyncZ: 200 of one task", ASYNCZ, "query"),
    )
    lines = [
        (f"{size:,}", *(f"{number(found(n, size, key))} us" for _, n, key in columns))
        for size in sizes
    ]
    ratios = [f"{found(n, most, k) / found(n, least, k):.2f}" for _, n, k in columns]
    lines.append(("most by least", *ratios))
    return Result(
        rows=rows,
        detail=[
            "each record pushes another out; each task has 200 records, spread evenly.",
            table(("records kept", *(what for what, _, _ in columns)), lines),
        ],
    )


if __name__ == "__main__":
    print(json.dumps(_MEASURED[sys.argv[1]](int(sys.argv[2]), int(sys.argv[3]))))
