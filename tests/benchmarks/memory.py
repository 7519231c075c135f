"""Memory of a record that is kept: the process's resident set, before and after.

Each measurement in a fresh process: 1,000 records to warm up, which are kept too,
then 100,000 or 1,000,000 from 500 jobs, at a pace that leaves nothing waiting. Ours keeps them
in its ring, the peer its ``ReadWriteLogRecord`` objects in a list. On Linux only.
"""

from __future__ import annotations

import asyncio
import gc
import json
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from peers import OFFICIAL_OBJECTS
from rounds import child, medians
from rows import Result, Row

import otel_tasklog
from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from rounds import Scale

__all__ = ["run"]

WARM_UP = 1_000
TASKS = 500


def _resident_bytes() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024
    raise RuntimeError("no VmRSS in /proc/self/status")


async def _fill(log: logging.Logger, settle: Callable[[], None], count: int) -> None:
    for i in range(count):
        with otel_tasklog.task(f"job-{i % TASKS}"):
            extra = {"user": f"user-{i % 1_000}", "amount": i}
            log.info("task %d step %s", i, "x", extra=extra)
        if not i % 256:
            settle()
    settle()


def _measure(
    handler: logging.Handler, settle: Callable[[], None], records: int
) -> float:
    log = logging.getLogger("benchmark")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.addHandler(handler)
    asyncio.run(_fill(log, settle, WARM_UP))
    gc.collect()
    before = _resident_bytes()
    asyncio.run(_fill(log, settle, records))
    gc.collect()
    log.removeHandler(handler)  # logging would flush it at exit
    return (_resident_bytes() - before) / records


def _ours(records: int) -> float:
    config = Config(
        exporter=None, ring_records=2 * (records + WARM_UP), ring_bytes=1 << 32
    )
    tasklog = TaskLog(config)

    def settle() -> None:
        assert tasklog.flush(10.0)

    size = _measure(tasklog.handler, settle, records)
    assert len(tasklog.query(limit=None)) == records + WARM_UP
    tasklog.close()
    return size


def _official(records: int) -> float:
    from opentelemetry.instrumentation.logging.handler import LoggingHandler
    from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor

    kept: list[ReadWriteLogRecord] = []

    class Keeping(LogRecordProcessor):
        def on_emit(self, log_record: ReadWriteLogRecord) -> None:
            kept.append(log_record)

        def shutdown(self) -> None:
            pass

        def force_flush(self, timeout_millis: int = 0) -> bool:
            return True

    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Keeping())
    size = _measure(LoggingHandler(logger_provider=provider), lambda: None, records)
    assert len(kept) == records + WARM_UP
    return size


def _in_child(which: str, records: int) -> Callable[[], float]:
    return lambda: float(child(__file__, which, records)["bytes"])


def run(scale: Scale) -> Result:
    """Measure both in fresh processes."""
    if not Path("/proc/self/status").exists():
        return Result(rows=[])
    records = scale.pick(1_000, 100_000, 100_000)
    rows = [_row(records, "", scale.pick(1, 1, 3))]
    most = scale.pick(2_000, 200_000, 1_000_000)
    rows.append(_row(most, f", {most:,} kept", 1))
    return Result(rows=rows)


def _row(records: int, which: str, rounds: int) -> Row:
    variants = {each: _in_child(each, records) for each in _KEEPERS}
    found = medians(variants, rounds, warm_up=0, collect=False)
    return Row(
        what=f"memory of a kept record{which}", peer=OFFICIAL_OBJECTS, unit="B",
        ours=found["ours"], theirs=found["official"], bar=0.5, stretch=0.2, share=True,
    )  # fmt: skip


_KEEPERS: dict[str, Callable[[int], float]] = {"ours": _ours, "official": _official}


if __name__ == "__main__":
    print(json.dumps({"bytes": _KEEPERS[sys.argv[1]](int(sys.argv[2]))}))
