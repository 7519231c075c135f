"""What many records say together: by task, in time, around one, of one trace."""

from __future__ import annotations

import asyncio
import gc
import logging
import re
import threading
from collections import Counter
from typing import TYPE_CHECKING, Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rings import fill, make_ring, sealed

import otel_tasklog
from otel_tasklog import (
    Bucket,
    ConfigError,
    Counts,
    Query,
    TaskRecord,
    TaskSummary,
    TaskWait,
)
from otel_tasklog.capture import _tasks
from otel_tasklog.capture._tasks import _Loops
from otel_tasklog.store import _search
from otel_tasklog.store._summaries import MOST_BUCKETS, count, summarize

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

    from conftest import Harness

SECOND = 1_000_000_000

fields = st.fixed_dictionaries(
    {"task_id": st.sampled_from(["a", "b", "c", None])},
    optional={
        "level": st.sampled_from([10, 20, 30, 40, 35]),
        "message": st.text("xyz", max_size=2),
        "parent_id": st.sampled_from(["p", "q"]),
        "asyncio_task": st.integers(1, 3),
        "thread": st.integers(1, 2),
        "logger": st.sampled_from(["log", "log.inner", "other"]),
        "timestamp_ns": st.integers(-3 * SECOND, 40 * SECOND),
        "exception": st.sampled_from(["ValueError", "shop.Refused"]),
        "attributes": st.dictionaries(
            st.sampled_from(["user", "amount"]),
            st.one_of(st.integers(0, 2), st.sampled_from(["0", "bob"])),
        ),
    },
)
logged = st.lists(fields, max_size=40)


class Stage:
    """A ring, and the same records as a plain list."""

    def __init__(
        self, logged: list[dict[str, Any]], capacity: int, waiting: int
    ) -> None:
        everything = [sealed(number, **each) for number, each in enumerate(logged)]
        kept = max(len(everything) - waiting, 0)
        self.ring = make_ring(records=capacity, waiting=everything[kept:])
        fill(self.ring, everything[:kept], 7)
        self.records = [TaskRecord(each) for each in everything[-capacity:]]
        there = [*everything[:kept][-capacity:], *everything[kept:]]
        self.there = [TaskRecord(each) for each in there]

    def matching(self, least: int) -> list[TaskRecord]:
        return [record for record in self.records if record.level >= least]


class Everybody:
    """Says that every task is alive, and waits on its number."""

    def __init__(self, wanted: Collection[int]) -> None:
        self.wanted = wanted

    def any_of(self, job: str, numbers: Collection[int]) -> bool | None:
        assert {*numbers} <= {*self.wanted}
        return bool(numbers)

    def wait_of(self, job: str, numbers: Iterable[int]) -> TaskWait | None:
        first = next(iter(numbers), None)
        return None if first is None else wait(first)


def wait(number: int) -> TaskWait:
    return TaskWait("sleep", "sleep(1)", (), "a.py", 1, "f", number, "")


stages = st.builds(
    Stage, logged, capacity=st.integers(1, 40), waiting=st.integers(0, 10)
)


@given(stage=stages, least=st.sampled_from([10, 30]))
def test_tasks_are_what_a_plain_list_says(stage: Stage, least: int) -> None:
    own: dict[str, list[TaskRecord]] = {}
    for record in stage.matching(least):
        if record.task_id is not None:
            own.setdefault(record.task_id, []).append(record)
    search = stage.ring.search(Query(min_level=least, limit=None))
    found = summarize(search, Everybody, None)
    assert found.complete
    assert found == [
        summary_of(records)
        for records in sorted(own.values(), key=lambda own: -own[-1].sequence)
    ]
    limited = summarize(stage.ring.search(Query(min_level=least)), Everybody, 1)
    assert [each.task_id for each in limited] == [each.task_id for each in found[:1]]


def summary_of(records: list[TaskRecord]) -> TaskSummary:
    first, last = records[0], records[-1]
    parents = [r.task_parent_id for r in records if r.task_parent_id is not None]
    numbers = {r.asyncio_task_number for r in records} - {None}
    names = {r.asyncio_task_name for r in records} - {None}
    newest = [r.asyncio_task_number for r in records if r.asyncio_task_number][-1:]
    return TaskSummary(
        task_id=str(first.task_id),
        task_parent_id=parents[-1] if parents else None,
        asyncio_task_numbers=tuple(sorted(n for n in numbers if n is not None)),
        asyncio_task_names=tuple(sorted(n for n in names if n is not None)),
        first_ns=first.timestamp_ns,
        last_ns=last.timestamp_ns,
        duration_seconds=max(last.timestamp_ns - first.timestamp_ns, 0) / 1e9,
        records=len(records),
        levels=Counter(r.severity_text for r in records),
        worst_level=max(records, key=lambda r: r.level).severity_text,
        exceptions=Counter(r.exception_type for r in records if r.exception_type),
        last_message=last.message,
        alive=bool(numbers),
        waits_on=wait(newest[0]) if newest else None,
    )


def test_levels_come_from_the_highest_down_and_others_from_the_most_frequent() -> None:
    ring = make_ring()
    levels = [(10, "log"), (40, "other"), (20, "log"), (40, "log"), (10, "z")]
    fill(
        ring, [sealed(n, "t", each, logger=log) for n, (each, log) in enumerate(levels)]
    )
    [summary] = summarize(ring.search(Query()), Everybody, None)
    assert [*summary.levels.items()] == [("ERROR", 2), ("INFO", 1), ("DEBUG", 2)]
    by_level = count(ring.search(Query()), "level", None, None)
    assert [*by_level.counts] == ["ERROR", "INFO", "DEBUG"]
    by_logger = count(ring.search(Query()), "logger", None, None)
    assert [*by_logger.counts.items()] == [("log", 3), ("other", 1), ("z", 1)]


KEYS: dict[str, Callable[[TaskRecord], object]] = {
    "level": lambda r: r.severity_text,
    "logger": lambda r: r.logger,
    "task_id": lambda r: r.task_id,
    "exception": lambda r: r.exception_type,
    "@user": lambda r: r.attributes.get("user"),
    "@amount": lambda r: r.attributes.get("amount"),
    "@missing": lambda _: None,
}


@given(
    stage=stages,
    by=st.sampled_from(sorted(KEYS)),
    seconds=st.sampled_from([None, 0.5, 1, 7.0, 3_600]),
    least=st.sampled_from([10, 30]),
)
def test_counts_are_what_a_plain_list_says(
    stage: Stage, by: str, seconds: float | None, least: int
) -> None:
    records = stage.matching(least)
    search = stage.ring.search(Query(min_level=least, limit=None))
    found = count(search, by, seconds, None)

    def counted(records: Iterable[TaskRecord]) -> dict[str, int]:
        keys = [KEYS[by](record) for record in records]
        return Counter(str(key) for key in keys if key is not None)

    buckets = []
    if seconds is not None and records:
        width = round(seconds * SECOND)
        starts = [r.timestamp_ns // width * width for r in records]
        for start in range(min(starts), max(starts) + 1, width):
            inside = [r for r in records if start <= r.timestamp_ns < start + width]
            bucket = Bucket(start_ns=start, total=len(inside), counts=counted(inside))
            buckets.append(bucket)
    assert found == Counts(
        by=by,
        total=len(records),
        distinct=len(counted(records)),
        counts=counted(records),
        bucket_seconds=seconds,
        buckets=tuple(buckets),
        complete=True,
    )


@given(stage=stages, by=st.sampled_from(sorted(KEYS)), limit=st.integers(0, 4))
def test_counts_list_the_first_few_in_buckets_too(
    stage: Stage, by: str, limit: int
) -> None:
    def found(limit: int | None) -> Counts:
        return count(stage.ring.search(Query()), by, 3_600, limit)

    few, whole = found(limit), found(None)
    assert [*few.counts.items()] == [*whole.counts.items()][:limit]
    assert (few.total, few.distinct) == (whole.total, len(whole.counts))
    for short, long in zip(few.buckets, whole.buckets, strict=True):
        assert (short.start_ns, short.total) == (long.start_ns, long.total)
        expected = {k: n for k, n in long.counts.items() if k in few.counts}
        assert [*short.counts.items()] == [*expected.items()]


def test_buckets_that_are_too_many_are_refused_and_what_to_do_is_said() -> None:
    ring = make_ring()
    year = 365 * 86_400 * SECOND
    fill(ring, [sealed(0), sealed(1, timestamp_ns=year)])
    with pytest.raises(ConfigError, match="by since= and until=") as refused:
        count(ring.search(Query()), "level", 60, None)
    at_least = float(str(refused.value).split("at least ")[1].split()[0])
    assert (
        len(count(ring.search(Query()), "level", at_least, None).buckets)
        <= MOST_BUCKETS
    )


@given(
    stage=stages,
    before=st.integers(0, 12),
    after=st.integers(0, 12),
    same_task=st.booleans(),
    at=st.integers(0, 39),
)
def test_a_context_is_what_a_plain_list_says(
    stage: Stage, *, before: int, after: int, same_task: bool, at: int
) -> None:
    """Of any record: one that is there, was evicted, or is of another TaskLog."""
    record = TaskRecord(sealed(at, "a"))
    there = [r for r in stage.there if not same_task or r.task_id == record.task_id]
    found = stage.ring.around(record, before=before, after=after, same_task=same_task)
    lower = [each for each in there if each.sequence < at]
    itself = [each for each in there if each.sequence == at]
    higher = [each for each in there if each.sequence > at]
    assert found == lower[max(len(lower) - before, 0) :] + itself + higher[:after]


@given(
    swapped=st.sets(st.integers(0, 2_998)),
    at=st.integers(0, 2_999),
    before=st.integers(0, 1_100),
    after=st.integers(0, 1_100),
)
def test_a_context_is_in_the_order_of_the_calls(
    swapped: set[int], at: int, before: int, after: int
) -> None:
    """Threads may have appended in another order, across the ends of chunks too."""
    order = list(range(3_000))
    for left in swapped:
        order[left], order[left + 1] = order[left + 1], order[left]
    ring = make_ring(waiting=[sealed(number) for number in order[2_900:]])
    fill(ring, [sealed(number) for number in order[:2_900]])
    record = TaskRecord(sealed(at))
    found = ring.around(record, before=before, after=after, same_task=False)
    expected = range(max(at - before, 0), min(at + after + 1, 3_000))
    assert [each.sequence for each in found] == list(expected)


def test_a_context_is_of_all_tasks_or_of_one(harness: Harness) -> None:
    for number in range(5):
        for job in ("a", "b"):
            with otel_tasklog.task(job):
                harness.log.info("%s%s", job, number)
    [record] = harness.tasklog.query("b2")

    def texts(**options: Any) -> list[str]:
        return [r.message for r in harness.tasklog.context(record, **options)]

    assert texts(before=1, after=2) == ["a2", "b2", "a3", "b3"]
    assert texts(before=1, after=2, same_task=True) == ["b1", "b2", "b3", "b4"]
    assert texts(before=0, after=0) == ["b2"]
    assert len(texts()) == 10
    harness.tasklog.clear()
    assert texts() == []


def test_a_trace_has_the_oldest_first(harness: Harness) -> None:
    ring = make_ring()
    trace_id, other = "0af7651916cd43dd8448eb211c80319c", "f" * 32
    for number in range(10):
        fill(ring, [sealed(number, trace_id=[trace_id, other, None][number % 3])])
    harness.tasklog._ring = ring
    found = harness.tasklog.trace(trace_id)
    assert [record.sequence for record in found] == [0, 3, 6, 9]
    assert found.complete
    limited = harness.tasklog.trace(trace_id, limit=2)
    assert [record.sequence for record in limited] == [0, 3]
    assert harness.tasklog.trace("e" * 32) == []


def test_a_search_narrows_what_is_summed_up(harness: Harness) -> None:
    with otel_tasklog.task("import-1"):
        harness.log.info("started")
        with otel_tasklog.task("file-1"):
            harness.log.warning("odd")
    with otel_tasklog.task("report"):
        harness.log.info("done", extra={"user": "bob"})
    tasklog = harness.tasklog
    assert [t.task_id for t in tasklog.tasks()] == ["report", "file-1", "import-1"]
    assert [t.task_id for t in tasklog.tasks(limit=1)] == ["report"]
    under = tasklog.tasks("under:import-1")
    assert [(t.task_id, t.task_parent_id) for t in under] == [
        ("file-1", "import-1"),
        ("import-1", None),
    ]
    assert tasklog.counts("under:import-1").counts == {"WARNING": 1, "INFO": 1}
    assert tasklog.counts(min_level="WARNING").total == 1
    by_user = tasklog.counts(by="@user")
    assert (by_user.total, by_user.counts) == (3, {"bob": 1})
    assert by_user.buckets == ()


def test_a_record_outside_of_any_job_is_in_no_task(harness: Harness) -> None:
    harness.log.info("alone")
    assert harness.tasklog.tasks() == []
    assert harness.tasklog.counts(by="task_id").counts == {}


def alive(harness: Harness) -> dict[str, bool | None]:
    return {each.task_id: each.alive for each in harness.tasklog.tasks()}


def test_a_task_is_alive_until_its_asyncio_tasks_are_done(harness: Harness) -> None:
    async def work(job: str, go_on: asyncio.Event) -> None:
        with otel_tasklog.task(job):
            harness.log.info("started")
            await go_on.wait()

    async def main() -> None:
        first, second = asyncio.Event(), asyncio.Event()
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(work("short", first))]
            tasks += [group.create_task(work("long", each)) for each in (first, second)]
            await asyncio.sleep(0)
            everything = {"short": True, "long": True, "job": True}
            with otel_tasklog.task("job"):
                harness.log.info("mine")
                assert alive(harness) == everything
                assert await asyncio.to_thread(alive, harness) == everything
                first.set()
                await asyncio.wait(tasks[:2])
                everything["short"] = False
                assert alive(harness) == everything
                assert await asyncio.to_thread(alive, harness) == everything
            second.set()

    asyncio.run(main())
    assert alive(harness) == {"short": False, "long": False, "job": False}


def test_who_is_alive_is_known_of_every_loop_and_not_of_a_thread(
    harness: Harness,
) -> None:
    with otel_tasklog.task("thread"):
        harness.log.info("no task")
    logged, asked = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        with otel_tasklog.task("elsewhere"):
            harness.log.info("in another loop")
            logged.set()
            await asyncio.to_thread(asked.wait)

    other = threading.Thread(target=asyncio.run, args=(elsewhere(),))
    other.start()
    logged.wait()
    try:
        assert alive(harness) == {"thread": None, "elsewhere": True}
    finally:
        asked.set()
        other.join()
    assert alive(harness) == {"thread": None, "elsewhere": False}


def test_a_task_of_a_loop_that_was_closed_is_not_alive(harness: Harness) -> None:
    loop = asyncio.new_event_loop()

    async def endless() -> None:
        with otel_tasklog.task("endless"):
            harness.log.info("here")
            await asyncio.sleep(60)

    left = loop.create_task(endless())
    loop.run_until_complete(asyncio.sleep(0))
    assert alive(harness) == {"endless": True}  # the loop may run again
    left.cancel()
    loop.run_until_complete(asyncio.wait([left]))
    loop.close()
    assert alive(harness) == {"endless": False}


def test_who_is_alive_is_not_guessed(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its loop may be one that was not remembered, or its tasks cannot be listed."""

    def too_fast(loop: object) -> set[Any]:
        raise RuntimeError("Set changed size during iteration")

    async def main() -> None:
        with otel_tasklog.task("done"):
            harness.log.info("here")
        await asyncio.create_task(ask())

    async def ask() -> None:
        with otel_tasklog.task("asking"):
            harness.log.info("here")
            with monkeypatch.context() as patch:
                patch.setattr(asyncio, "all_tasks", too_fast)
                assert alive(harness) == {"asking": None, "done": None}
            with monkeypatch.context() as patch:
                loops = _Loops()
                loops.note(cast("Any", Slotted()))
                patch.setattr(_tasks, "_loops", loops)
                assert alive(harness) == {"asking": None, "done": None}
            assert alive(harness) == {"asking": True, "done": False}

    asyncio.run(main())


class Slotted:
    """Can be referred to by no weak reference."""

    __slots__ = ()


def test_a_loop_that_is_gone_is_forgotten() -> None:
    loops = _Loops()
    for _ in range(3):
        loop = asyncio.new_event_loop()
        loops.note(loop)
        loops.note(loop)
        assert loops.all() == [loop]
        loop.close()
        del loop
        gc.collect()
    assert loops.all() == []
    assert loops.complete


def test_what_a_job_waits_on_is_what_its_last_live_task_to_log_waits_on(
    harness: Harness,
) -> None:
    async def fetch(queue: asyncio.Queue[int]) -> None:
        harness.log.info("fetching")
        await queue.get()

    async def last() -> None:
        harness.log.info("the last to log, and done")

    async def work() -> None:
        with otel_tasklog.task("job"):
            harness.log.info("started")
            queue: asyncio.Queue[int] = asyncio.Queue()
            fetching = asyncio.create_task(fetch(queue), name="fetching")
            await asyncio.sleep(0)
            await asyncio.create_task(last())
            [job] = await asyncio.to_thread(harness.tasklog.tasks)
            assert len(job.asyncio_task_numbers) == 3
            assert job.waits_on is not None
            assert (job.waits_on.kind, job.waits_on.text) == ("queue", "Queue.get")
            assert job.waits_on.asyncio_task_name == "fetching"
            assert job.waits_on.function == fetch.__qualname__
            await queue.put(1)
            await fetching
            [job] = await asyncio.to_thread(harness.tasklog.tasks)
            assert job.waits_on is not None
            assert job.waits_on.kind == "executor"

    asyncio.run(work())
    [job] = harness.tasklog.tasks()
    assert (job.alive, job.waits_on) == (False, None)


def test_a_job_that_a_task_has_left_is_not_alive_and_those_around_it_are(
    harness: Harness,
) -> None:
    """A task that works for one job after the other, in scopes, is at the last."""

    async def work() -> None:
        harness.log.info("before", extra={"task_id": "named by a record"})
        assert alive(harness) == {"named by a record": True}
        harness.log.info("here")
        with otel_tasklog.task("outer"):
            for job in ("first", "second"):
                with otel_tasklog.task(job), otel_tasklog.bind(user="bob"):
                    harness.log.info("at it")
            harness.log.info("at it")
            await asyncio.create_task(child(), name="child")
            assert await asyncio.to_thread(alive, harness) == {
                "named by a record": False,
                "worker": True,
                "first": False,
                "second": False,
                "outer": True,
                "third": False,
            }
            with otel_tasklog.task("fourth"):
                harness.log.info("at it")
                found = {each.task_id: each for each in harness.tasklog.tasks()}
                assert found["fourth"].waits_on == found["outer"].waits_on is not None
                assert found["first"].waits_on is None
        found_alive = alive(harness)
        assert (found_alive["outer"], found_alive["fourth"]) == (False, False)

    async def child() -> None:
        harness.log.info("of the job around its parent")
        with otel_tasklog.task("third"):
            harness.log.info("at it")
            assert alive(harness)["outer"] is True

    async def main() -> None:
        await asyncio.create_task(work(), name="worker")

    asyncio.run(main())


def test_the_name_of_what_a_job_waits_on_is_without_its_secret(
    make: Callable[..., Harness],
) -> None:
    harness = make(redact_patterns=[re.compile(r"sk-\w+")])

    async def main() -> None:
        inner = asyncio.create_task(asyncio.sleep(60), name="pay sk-123")
        outer = asyncio.create_task(wait_for(inner), name="with sk-123")
        await asyncio.sleep(0)
        [job] = harness.tasklog.tasks()
        assert job.waits_on is not None
        assert "sk-123" not in repr(job)
        assert job.waits_on.text.startswith("task pay ")
        inner.cancel()
        await asyncio.wait([inner, outer])

    async def wait_for(inner: asyncio.Task[None]) -> None:
        harness.log.info("waiting")
        await inner

    asyncio.run(main())


class Clock:
    """Advances by a second whenever it is looked at."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1.0
        return self.now


def test_what_took_too_long_says_so(
    harness: Harness, monkeypatch: pytest.MonkeyPatch
) -> None:
    ring = make_ring()
    fill(ring, [sealed(number, f"job-{number}") for number in range(5_120)])
    harness.tasklog._ring = ring
    monkeypatch.setattr(_search, "monotonic", Clock())
    tasklog = harness.tasklog
    newest = tasklog.tasks(limit=None, timeout_seconds=2.5)
    assert not newest.complete
    assert [t.task_id for t in newest] == [f"job-{n}" for n in range(5_119, 4_095, -1)]
    some = tasklog.counts(timeout_seconds=2.5)
    assert (some.complete, some.total) == (False, 1_024)
    assert not tasklog.query(limit=None, timeout_seconds=2.5).complete
    assert not tasklog.trace("f" * 32, timeout_seconds=2.5).complete
    assert tasklog.tasks(timeout_seconds=float("inf")).complete


@pytest.mark.parametrize(
    ("method", "wrong"),
    [
        ("query", {"timeout_seconds": 0}),
        ("query", {"timeout_seconds": float("nan")}),
        ("query", {"timeout_seconds": "5"}),
        ("tasks", {"limit": -1}),
        ("tasks", {"newest_first": True}),
        ("tasks", {"timeout_seconds": -1.0}),
        ("counts", {"by": "lvl"}),
        ("counts", {"by": "@"}),
        ("counts", {"by": None}),
        ("counts", {"limit": -1}),
        ("counts", {"newest_first": True}),
        ("counts", {"bucket_seconds": 0}),
        ("counts", {"bucket_seconds": 1e-10}),
        ("counts", {"bucket_seconds": float("inf")}),
        ("counts", {"bucket_seconds": "60"}),
        ("trace", {"trace_id": None}),
        ("trace", {"trace_id": "order-1"}),
        ("context", {"record": "order-1"}),
        ("context", {"before": -1}),
        ("context", {"after": 1.5}),
    ],
    ids=str,
)
def test_a_question_that_cannot_mean_anything_says_so(
    harness: Harness, method: str, wrong: dict[str, Any]
) -> None:
    harness.log.info("x")
    known = {"record": harness.last()} if method == "context" else {}
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        getattr(harness.tasklog, method)(**known | wrong)


def test_all_can_be_asked_while_records_come_and_go(
    make: Callable[..., Harness],
) -> None:
    harness = make(ring_records=700, schedule_delay_seconds=0.001)
    tasklog, log = harness.tasklog, harness.log
    failures: list[BaseException] = []
    done = threading.Event()

    def ask() -> None:
        while not done.is_set():
            try:
                ask_all(tasklog)
            except BaseException as failure:  # noqa: BLE001 - told below
                failures.append(failure)
                return

    readers = [threading.Thread(target=ask) for _ in range(2)]
    for reader in readers:
        reader.start()
    for number in range(8_000):
        with otel_tasklog.task(f"outer-{number // 100}"), otel_tasklog.task("inner"):
            level = logging.ERROR if number % 50 == 0 else logging.INFO
            log.log(level, "%s", number, extra={"order": number % 7})
    done.set()
    for reader in readers:
        reader.join()
    assert not failures, failures[0]


def ask_all(tasklog: otel_tasklog.TaskLog) -> None:
    """Ask everything once, and look whether each answer agrees with itself."""
    for task in tasklog.tasks():
        assert task.records == sum(task.levels.values())
        assert task.first_ns <= task.last_ns
    counts = tasklog.counts(by="@order", bucket_seconds=0.01)
    assert counts.total == sum(bucket.total for bucket in counts.buckets)
    assert counts.total == sum(counts.counts.values())
    for record in tasklog.query("under:outer-3 OR level>=error", limit=3):
        assert record.task_id == "inner"
        near = [r.sequence for r in tasklog.context(record, before=2, after=2)]
        assert near == sorted(set(near))
        assert len(near) <= 5
    assert tasklog.trace("f" * 32) == []
