"""How old the oldest record is that has not been delivered."""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

import pytest

from otel_tasklog import Config, TaskLog
from otel_tasklog.delivery._age import first_ns
from otel_tasklog.delivery._resize import split
from otel_tasklog.testing import Retry

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from conftest import Harness

AGO_SECONDS = 1_000.0


def log_past(harness: Harness, *ages_seconds: float) -> None:
    for age in ages_seconds:
        record = logging.makeLogRecord(
            {"msg": "x" * 300, "levelno": 20, "created": time.time() - age}
        )
        harness.log.handle(record)


def lag(harness: Harness) -> float:
    found = harness.tasklog.stats().lag_seconds
    assert found is not None
    return found


@pytest.mark.parametrize("count", [1, 3, 200])
def test_a_request_says_when_its_first_record_was_logged(
    make: Callable[..., Harness], count: int
) -> None:
    """Also the parts of one that was too large, which protobuf's library made."""
    harness = make(resource_attributes={"long": "y" * 500})
    log_past(harness, *range(count, 0, -1))
    assert harness.tasklog.flush(10)
    records = harness.tasklog.query(newest_first=False)
    (body,) = harness.sender.bodies
    assert first_ns(body) == records[0].timestamp_ns
    parts = split(body)
    assert first_ns(parts[-1][0]) == records[count // 2].timestamp_ns
    assert first_ns(body + body) == records[0].timestamp_ns  # joined


@pytest.mark.parametrize(
    "body",
    [b"", b"\x0a", b"\x0a\x00", b"\x0a\x02\x12\x00", b"\x12" * 7, b"\xff" * 9],
    ids=repr,
)
def test_what_has_no_record_says_nothing(body: bytes) -> None:
    assert first_ns(body) is None


def test_nothing_pending_is_no_lag(harness: Harness) -> None:
    assert lag(harness) == 0.0
    log_past(harness, AGO_SECONDS)
    assert harness.tasklog.flush(10)
    assert lag(harness) == 0.0


def test_what_waits_for_the_worker_counts(make: Callable[..., Harness]) -> None:
    harness = make(schedule_delay_seconds=3_600.0, export_level="INFO")
    log_past(harness, AGO_SECONDS, 1.0)
    assert AGO_SECONDS <= lag(harness) < AGO_SECONDS + 60


def test_what_the_receiver_does_not_take_counts(make: Callable[..., Harness]) -> None:
    harness = make([Retry("down")] * 1_000)
    log_past(harness, AGO_SECONDS)
    assert not harness.tasklog.flush(0.01)
    log_past(harness, 1.0)
    assert AGO_SECONDS <= lag(harness) < AGO_SECONDS + 60


def test_so_does_what_was_read_back_from_the_spool(
    make: Callable[..., Harness], tmp_path: Path
) -> None:
    settings: dict[str, Any] = {
        "spool_dir": tmp_path, "buffer_records": 8, "batch_records": 2,
    }  # fmt: skip
    harness = make([Retry("down")] * 1_000, **settings)
    log_past(harness, *[AGO_SECONDS] * 40)
    assert not harness.tasklog.flush(0.01)
    assert AGO_SECONDS <= lag(harness) < AGO_SECONDS + 60


def test_a_record_from_the_future_is_no_negative_lag(
    make: Callable[..., Harness],
) -> None:
    harness = make(schedule_delay_seconds=3_600.0)
    log_past(harness, -AGO_SECONDS)
    assert 0.0 <= lag(harness) < 60


def test_where_nothing_is_exported_there_is_none() -> None:
    tasklog = TaskLog(Config(exporter=None))
    assert tasklog.stats().lag_seconds is None
    tasklog.close()


def test_after_the_end_nothing_lags(make: Callable[..., Harness]) -> None:
    """What was given up is not pending any more."""
    harness = make([Retry("down")] * 1_000)
    log_past(harness, AGO_SECONDS)
    harness.tasklog.close(0.01)
    assert lag(harness) == 0.0
