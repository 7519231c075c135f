"""The ring: its bounds, its order, its queries."""

from __future__ import annotations

import datetime
import logging
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import fill, make_ring, sealed

import otel_tasklog
from otel_tasklog import ConfigError, Query
from otel_tasklog.capture._record import TaskRecord
from otel_tasklog.store import _search
from otel_tasklog.store._chunks import CHUNK_RECORDS
from otel_tasklog.store._expression import Expression
from otel_tasklog.store._memory import Ring

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from conftest import Harness

    from otel_tasklog.capture._record import Captured, Sealed
    from otel_tasklog.store._expression import Evaluation

TASKS = ["a", "b", None]
LEVELS = [10, 20, 30, 40]


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
    ring = make_ring(records=capacity, waiting=waiting)
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
    ring = make_ring(size_bytes=bound)
    for number, size in enumerate(sizes):
        ring.keep([sealed(number, "t")], [size])
        assert ring.kept_bytes <= bound
    found = [r.sequence for r in ring.select(Query(newest_first=False))]
    assert found == list(range(len(sizes) - ring.kept, len(sizes)))[:200]
    assert sum(sizes[len(sizes) - ring.kept :]) == ring.kept_bytes


def test_an_evicted_task_leaves_nothing_behind() -> None:
    ring = make_ring(records=10)
    jobs = [
        sealed(number, f"task-{number}", parent_id=f"task-{number - 1}")
        for number in range(2_000)
    ]
    fill(ring, jobs)
    assert len(ring._by_task) == 10
    assert len(ring._nested) == 10
    assert sum(len(c.records) for c in ring._chunks) == 10
    assert ring.family("task-1988") == {"task-1988"}
    assert len(ring.family("task-1990")) == 10


def test_no_list_is_long_however_many_records_are_of_one_task() -> None:
    """What is left of a list moves up at each eviction, and is copied for a query."""
    ring = make_ring(records=5_000)
    fill(ring, [sealed(number, "t", 40) for number in range(12_000)])
    for pile in (ring._by_task["t"], ring._notable):
        assert sum(map(len, pile)) == 5_000
        assert max(map(len, pile)) <= CHUNK_RECORDS
        assert len(pile) <= 5_000 // CHUNK_RECORDS + 2


class Seen(Expression):
    """Passes all records, and counts them."""

    __slots__ = ("number",)
    cost = 0

    def __init__(self) -> None:
        self.number = 0

    def compile(self, evaluation: Evaluation) -> Callable[[Sealed], bool]:
        def test(record: Sealed) -> bool:
            self.number += 1
            return True

        return test

    def __str__(self) -> str:
        return ""


@pytest.mark.parametrize("newest_first", [True, False], ids=["newest", "oldest"])
@pytest.mark.parametrize(
    "filters",
    [{}, {"task_id": "t"}, {"min_level": "ERROR"}, {"text": "m"}],
    ids=["all", "task", "level", "text"],
)
def test_a_query_looks_at_no_more_than_it_needs(
    filters: dict[str, Any], *, newest_first: bool
) -> None:
    ring = make_ring(waiting=[sealed(number, "t", 40) for number in (8_000, 8_001)])
    fill(ring, [sealed(number, "t", 40) for number in range(8_000)])
    seen = Seen()
    query = Query(where=seen, limit=50, newest_first=newest_first, **filters)
    assert len(ring.select(query)) == 50
    assert seen.number <= 2 + CHUNK_RECORDS


def test_a_query_finishes_no_more_of_what_waits_than_it_needs() -> None:
    waiting = [sealed(number) for number in range(5_000)]
    finished: list[Sealed] = []

    def finish(part: Sequence[Captured]) -> Sequence[Sealed]:
        finished.extend(part)  # type: ignore[arg-type]
        return part  # type: ignore[return-value]

    ring = Ring(
        records=10_000,
        size_bytes=10**9,
        unfinished=lambda: waiting,  # type: ignore[arg-type,return-value]
        finish=finish,
    )
    assert len(ring.select(Query(limit=50))) == 50
    assert len(finished) <= CHUNK_RECORDS


@given(
    count=st.integers(0, 3 * CHUNK_RECORDS),
    swapped=st.lists(st.integers(0, 3 * CHUNK_RECORDS), max_size=8),
    after=st.one_of(st.none(), st.integers(-1, 3 * CHUNK_RECORDS)),
    before=st.one_of(st.none(), st.integers(-1, 3 * CHUNK_RECORDS)),
)
def test_a_page_is_between_its_sequences(
    count: int, swapped: list[int], after: int | None, before: int | None
) -> None:
    """Also where threads have appended in another order than they drew numbers."""
    order = list(range(count))
    for at in swapped:
        if at + 1 < count:
            order[at], order[at + 1] = order[at + 1], order[at]
    ring = make_ring()
    fill(ring, [sealed(number) for number in order])
    query = Query(after=after, before=before, limit=None, newest_first=False)
    for _ in range(2):  # the second time, chunks know what they hold
        found = [record.sequence for record in ring.select(query)]
        low = -1 if after is None else after
        high = count if before is None else before
        assert found == [number for number in range(count) if low < number < high]


links = st.lists(
    st.tuples(st.sampled_from("abcdef"), st.sampled_from(["a", "b", "c", "d", None])),
    max_size=30,
)


@given(
    jobs=links,
    batch=st.integers(1, 7),
    capacity=st.integers(1, 20),
    unfinished=st.integers(0, 5),
)
def test_a_family_is_what_the_records_that_are_there_say(
    jobs: list[tuple[str, str | None]], batch: int, capacity: int, unfinished: int
) -> None:
    everything = [
        sealed(number, task_id, parent_id=parent_id)
        for number, (task_id, parent_id) in enumerate(jobs)
    ]
    finished = everything[: max(len(everything) - unfinished, 0)]
    waiting = everything[len(finished) :]
    ring = make_ring(records=capacity, waiting=waiting)
    live = {job: ring.live_family(job) for job in "abcdef"}
    for start in range(0, len(finished), batch):
        fill(ring, finished[start : start + batch])
        for job in "abcdef":
            family = family_of(job, finished[: start + batch][-capacity:])
            assert ring.family(job) == family
            assert {other for other in "abcdef" if other in live[job]} == family
    there = finished[-capacity:] + waiting[-capacity:]
    for job in "abcdef":
        family = family_of(job, there)
        query = Query.parse(f"under:{job}", limit=None, newest_first=False)
        found = [record.sequence for record in ring.select(query)]
        seen = everything[-capacity:]
        assert found == [r[0] for r in seen if {r[3][0], r[3][1]} & family]


def family_of(job: str, there: list[Sealed]) -> set[str]:
    """Return the same, found out by asking again until nothing is added."""
    family = {job}
    while True:
        inner = {r[3][0] for r in there if r[3][1] in family} - family
        if not inner:
            return family
        family |= inner


class Clock:
    """Advances by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


@pytest.mark.parametrize(
    "search", ["", "task:t", "level>=error", "m", "nowhere", "-m"], ids=str
)
def test_a_query_gives_up_in_time_and_says_so(
    search: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = make_ring()
    fill(ring, [sealed(number, "t", 40) for number in range(10 * CHUNK_RECORDS)])
    monkeypatch.setattr(_search, "monotonic", Clock())
    query = Query.parse(search, limit=None)
    part = ring.select(query, 3.5)
    assert not part.complete
    assert ring.select(query, 60.0).complete
    whole = ring.select(query)
    assert whole.complete
    assert part == whole[: 3 * CHUNK_RECORDS]


def test_an_answer_that_ends_before_the_time_is_all(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ring = make_ring()
    fill(ring, [sealed(number, "t", 40) for number in range(3 * CHUNK_RECORDS)])
    monkeypatch.setattr(_search, "monotonic", Clock())
    assert ring.select(Query(limit=None), 3.5).complete
    assert ring.select(Query(limit=50), 1.5).complete


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
