"""Queries on 100,000 kept records of 500 jobs, against AsyncZ's MemoryLogStorage.

Both hold the same records: 5 % warnings, 0.05 % errors, texts that differ. Both
ask for at most 200, the newest first, and both answers are checked to be the same
messages. ``level`` means exactly that level in both.
"""

from __future__ import annotations

import datetime
import importlib.util
import logging
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rounds import medians
from rows import Result, Row

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["run"]

RECORDS = 100_000
TASKS = 500
PEER = "AsyncZ MemoryLogStorage"
# What is asked of ours, of the peer, the bar and the stretch.
QUESTIONS: list[
    tuple[str, dict[str, Any], dict[str, Any], float | None, float | None]
] = [
    ("newest 200 of one task", {"task_id": "job-250"}, {"task_id": "job-250"}, 50, 200),
    ("a rare level", {"level": "ERROR"}, {"level": "ERROR"}, 10, 30),
    ("a text that is nowhere", {"text": "nowhere"}, {"q": "nowhere"}, 3, 4),
    ("newest 200 of all", {}, {}, None, None),
    ("a text that 1 % have", {"text": "part 7 of"}, {"q": "part 7 of"}, None, None),
    ("a task that is not there", {"task_id": "none"}, {"task_id": "none"}, None, None),
]
NOTES = [
    (
        "AsyncZ's storage holds, while it searches, the lock that its append takes; "
        "ours takes none. AsyncZ returns its entries as they are, ours a view of each "
        "record. AsyncZ keeps no trace and no code location, and has no index."
    ),
]


def _level(number: int) -> int:
    if not number % 2_000:
        return logging.ERROR
    return logging.INFO if number % 20 else logging.WARNING


def _fill_ours() -> TaskLog:
    ring = TaskLog(Config(exporter=None, ring_records=RECORDS, ring_bytes=1 << 32))
    log = logging.getLogger("benchmark.queries")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [ring.handler]
    for i in range(RECORDS):
        extra = {"task_id": f"job-{i % TASKS}", "amount": i}
        log.log(_level(i), "order %d part %d of it", i, i % 100, extra=extra)
        if not i % 10_000:
            ring.flush(30.0)
    ring.flush(30.0)
    return ring


def _storage_type() -> type[Any] | None:
    """Load the storage's file alone: its package wants a web framework."""
    found = importlib.util.find_spec("asyncz")
    if found is None or not found.submodule_search_locations:
        return None
    path = Path(
        found.submodule_search_locations[0], "contrib/dashboard/logs/storage.py"
    )
    spec = importlib.util.spec_from_file_location("asyncz_log_storage", path)
    if spec is None or spec.loader is None or not path.exists():
        return None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    storage: type[Any] = module.MemoryLogStorage
    return storage


def _fill_peer(storage_type: type[Any]) -> Any:
    storage = storage_type(maxlen=RECORDS)
    now = datetime.datetime.now(datetime.UTC)
    for i in range(RECORDS):
        entry = {
            "ts": now, "level": logging.getLevelName(_level(i)),
            "message": f"order {i} part {i % 100} of it", "logger": "benchmark",
            "task_id": f"job-{i % TASKS}", "extra": {"amount": i},
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


def run(*, quick: bool) -> Result:
    """Ask both the same questions."""
    storage_type = _storage_type()
    if storage_type is None:
        return Result(rows=[], notes=[f"Queries: {PEER} could not be imported."])
    ring, storage = _fill_ours(), _fill_peer(storage_type)
    rows = []
    for what, ours, theirs, bar, stretch in QUESTIONS:
        mine = [record.message for record in ring.query(**ours)]
        assert mine == [entry.message for entry in storage.query(**theirs)]
        variants = {
            "ours": _timed(ring.query, ours),
            "peer": _timed(storage.query, theirs),
        }
        found = medians(variants, 5 if quick else 15)
        row = Row(
            what=what, peer=PEER, unit="us", ours=found["ours"],
            theirs=found["peer"], bar=bar, stretch=stretch,
        )  # fmt: skip
        rows.append(row)
    ring.close()
    return Result(rows=rows, notes=NOTES)
