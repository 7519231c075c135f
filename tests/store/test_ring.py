"""The ring: its bounds, its order, its queries."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_tasklog
from otel_tasklog import ConfigError, Query
from otel_tasklog.capture._record import NO_REST, Sealed, TaskRecord
from otel_tasklog.store._memory import Ring

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness

TASKS = ["a", "b", None]
LEVELS = [10, 20, 30, 40]


def sealed(
    sequence: int, task_id: str | None = None, level: int = 20, message: str = "m"
) -> Sealed:
    name = logging.getLevelName(level)
    origin = ("log", level, 9, name, "p", 1, "f", 1, "t", 1)
    who = (task_id, None, None, None, None)
    return (sequence, sequence, origin, who, None, message, None, (), (), NO_REST)


records = st.lists(
    st.tuples(
        st.sampled_from(TASKS), st.sampled_from(LEVELS), st.text("abcX", max_size=3)
    ),
    max_size=60,
)


queries = st.builds(
    Query,
    task_id=st.sampled_from([*TASKS, "missing"]),
    min_level=st.sampled_from([None, *LEVELS]),
    text=st.sampled_from([None, "a", "BC"]),
    limit=st.sampled_from([None, 0, 1, 5]),
    newest_first=st.booleans(),
)


@given(
    logged=records,
    batch=st.integers(1, 20),
    capacity=st.integers(1, 40),
    unfinished=st.integers(0, 10),
    query=queries,
)
def test_a_query_finds_what_a_plain_list_holds(
    logged: list[tuple[str | None, int, str]],
    batch: int,
    capacity: int,
    unfinished: int,
    query: Query,
) -> None:
    everything = [sealed(i, *fields) for i, fields in enumerate(logged)]
    finished = everything[: max(len(everything) - unfinished, 0)]
    waiting = everything[len(finished) :]
    ring = Ring(records=capacity, size_bytes=10**9, unfinished=lambda: waiting)
    for start in range(0, len(finished), batch):
        part = finished[start : start + batch]
        ring.keep(part, [1] * len(part))
        assert ring.kept <= capacity
    assert ring.kept + ring.evicted == len(finished)
    assert ring.kept_bytes == ring.kept

    expected = [
        record
        for record in everything[-capacity:]
        if (query.task_id is None or record[3][0] == query.task_id)
        and (query.min_level is None or record[2][1] >= query.min_level)
        and (query.text is None or query.text.lower() in record[5].lower())
    ]
    expected = expected[::-1] if query.newest_first else expected
    assert ring.select(query) == [TaskRecord(r) for r in expected[: query.limit]]


@given(sizes=st.lists(st.integers(1, 50), max_size=80), bound=st.integers(1, 200))
def test_the_byte_bound_holds_and_what_is_kept_is_the_newest(
    sizes: list[int], bound: int
) -> None:
    ring = Ring(records=10**6, size_bytes=bound, unfinished=list)
    for number, size in enumerate(sizes):
        ring.keep([sealed(number, "t")], [size])
        assert ring.kept_bytes <= bound
    found = [r.sequence for r in ring.select(Query(newest_first=False))]
    assert found == list(range(len(sizes) - ring.kept, len(sizes)))[:200]
    assert sum(sizes[len(sizes) - ring.kept :]) == ring.kept_bytes


def test_an_evicted_task_leaves_nothing_behind() -> None:
    ring = Ring(records=10, size_bytes=10**9, unfinished=list)
    for number in range(2_000):
        ring.keep([sealed(number, f"task-{number}")], [1])
    assert len(ring._by_task) == 10
    assert sum(len(c.records) for c in ring._chunks) == 10


def test_readers_see_each_record_once_and_in_order_while_it_is_written(
    make: Callable[..., Harness],
) -> None:
    harness = make(ring_records=100_000, schedule_delay_seconds=0.001)
    failures: list[str] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            found = [r.sequence for r in harness.tasklog.query(limit=500)]
            if sorted(set(found), reverse=True) != found:
                failures.append(f"doubled or out of order: {found[:20]}")
            if found and found[0] - found[-1] != len(found) - 1:
                failures.append("a record is missing")

    readers = [threading.Thread(target=read) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(20_000):
        harness.log.info("%s", number)
    done.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[0]


def test_level_is_exact_and_min_level_is_not(harness: Harness) -> None:
    for level in (10, 20, 30, 40):
        harness.log.log(level, "x")

    def levels(**query: object) -> list[int]:
        return [r.level for r in harness.tasklog.query(**query)]  # type: ignore[arg-type]

    assert levels(level="info") == [20]
    assert levels(level=30) == [30]
    assert levels(min_level="WARNING") == [40, 30]


def test_a_logger_finds_the_ones_below_it(harness: Harness) -> None:
    harness.log.info("x")
    child = harness.log.getChild("child")
    child.info("y")
    logging.getLogger(f"{harness.log.name}other").handlers[:] = [
        harness.tasklog.handler
    ]
    assert len(harness.tasklog.query(logger=harness.log.name)) == 2
    assert len(harness.tasklog.query(logger=child.name)) == 1


def test_attributes_and_run_ids_are_compared_by_value_or_text(
    harness: Harness,
) -> None:
    harness.log.info("x", extra={"run_id": 42, "order": "7"})
    assert len(harness.tasklog.query(run_id="42")) == 1
    assert len(harness.tasklog.query(attributes={"order": 7, "run_id": 42})) == 1
    assert harness.tasklog.query(attributes={"order": 8}) == []
    assert harness.tasklog.query(attributes={"missing": 7}) == []


def test_times_are_aware_or_durations(harness: Harness) -> None:
    harness.log.info("x")
    now = datetime.datetime.now(datetime.UTC)
    hour = datetime.timedelta(hours=1)
    assert len(harness.tasklog.query(since=hour, until=now + hour)) == 1
    assert len(harness.tasklog.query(since=now - hour)) == 1
    assert len(harness.tasklog.query(since=60.0)) == 1
    assert harness.tasklog.query(until=now - hour) == []
    assert harness.tasklog.query(until=60) == []
    with pytest.raises(ConfigError, match="an aware datetime"):
        harness.tasklog.query(since=now.replace(tzinfo=None))


@pytest.mark.parametrize(
    "query",
    [
        {"trace_id": "not hex"},
        {"level": "LOUD"},
        {"min_level": "LOUD"},
        {"limit": -1},
        {"since": "5m"},
        {"until": float("nan")},
        {"text": 5},
        {"logger": 5},
        {"attributes": 5},
        {"levle": "INFO"},
    ],
    ids=lambda query: next(iter(query)),
)
def test_a_query_that_cannot_mean_anything_says_so(
    harness: Harness, query: dict[str, object]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(query))):
        harness.tasklog.query(**query)  # type: ignore[arg-type]


def test_clear_forgets_the_ring_and_keeps_the_delivery(harness: Harness) -> None:
    harness.log.info("x")
    harness.tasklog.clear()
    assert harness.tasklog.query() == []
    assert harness.tasklog.stats().kept == 0
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 1


def test_a_query_from_within_a_log_call_works(harness: Harness) -> None:
    class Asking:
        def __str__(self) -> str:
            return str(len(harness.tasklog.query()))

    harness.log.info("first")
    harness.log.info("%s", Asking())
    assert harness.last().message == "1"


def test_logging_from_within_a_query_works(harness: Harness) -> None:
    class Loud:
        def __str__(self) -> str:
            harness.log.info("asked for my text")
            return "job"

    with otel_tasklog.task("job"):
        harness.log.info("x")
    found = harness.tasklog.query(task_id=Loud(), attributes={"missing": Loud()})
    assert found == []
    assert len(harness.tasklog.query(text="asked for my text")) >= 2


def test_a_kept_record_tells_all_of_itself(harness: Harness) -> None:
    before = time.time_ns()
    with otel_tasklog.task("job"):
        harness.log.info("x", extra={"a": 1})
    record = harness.last()
    assert before - 1_000_000 <= record.timestamp_ns <= time.time_ns() + 1_000_000
    assert record.time.tzinfo is datetime.UTC
    everything = record.to_dict()
    assert everything["task_id"] == "job"
    assert everything["attributes"] == {"a": 1}
    assert everything["body"] == "x"
    assert "job" in repr(record)
    assert "x" in repr(record)
    assert record == harness.last()
    assert hash(record) == hash(harness.last())
    assert record != "x"
