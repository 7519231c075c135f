"""Followers: each record once, in order, and no reader's fault is anybody else's."""

from __future__ import annotations

import asyncio
import contextlib
import enum
import logging
import signal
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

import otel_tasklog
from otel_tasklog import (
    ClosedError,
    Config,
    ConfigError,
    Follower,
    FollowerError,
    Query,
    TaskLog,
)
from otel_tasklog.capture._record import NO_REST, Sealed
from otel_tasklog.delivery._buffer import Wake
from otel_tasklog.delivery._messages import Stop
from otel_tasklog.delivery._threads import Threads
from otel_tasklog.store._feed import Feed
from otel_tasklog.store._follow import Followers
from otel_tasklog.store._memory import Ring
from otel_tasklog.testing import FakeClock, MemorySender

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from conftest import Harness

    from otel_tasklog.store._query import Conditions


def sealed(
    sequence: int, task_id: str | None = None, level: int = 20, message: str = "m"
) -> Sealed:
    name = logging.getLevelName(level)
    origin = ("log", level, 9, name, "p", 1, "f", 1, "t", 1)
    who = (task_id, None, None, None, None)
    now = time.time_ns()
    return (sequence, now, origin, who, None, message, None, (), (), NO_REST)


class Publisher:
    """What stands in for the worker: a lock, and what it was told to report."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.reports: list[str] = []

    def report(self, cause: str, text: str) -> None:
        self.reports.append(text)


class Stage:
    """A ring and its followers, fed by hand."""

    def __init__(self) -> None:
        self.unfinished: list[Sealed] = []
        self.publisher = Publisher()
        self.ring = Ring(
            records=10_000,
            size_bytes=10**9,
            unfinished=lambda: self.unfinished,  # type: ignore[arg-type,return-value]
            finish=list,  # type: ignore[arg-type]
        )
        self.followers = Followers(
            self.ring,
            lambda: self.unfinished,  # type: ignore[arg-type,return-value]
            self.publisher,
        )

    def finish(self, records: list[Sealed]) -> None:
        self.ring.keep(records, [1] * len(records))
        self.followers.publish(records)

    def follow(self, backlog_records: int | None = None, **filters: Any) -> Follower:
        return self.followers.follow("", filters, 10_000, backlog_records)  # type: ignore[arg-type]


def sequences(records: Iterable[otel_tasklog.TaskRecord]) -> list[int]:
    return [record.sequence for record in records]


rows = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", None]),
        st.sampled_from([10, 20, 30, 40]),
        st.text("abcX", max_size=3),
    ),
    max_size=10,
)

conditions = st.fixed_dictionaries(
    {},
    optional={
        "task_id": st.sampled_from(["a", "b", "missing"]),
        "min_level": st.sampled_from([10, 20, 30, 40]),
        "level": st.sampled_from(["INFO", "ERROR"]),
        "text": st.sampled_from(["a", "BC"]),
        "logger": st.sampled_from(["log", "other"]),
        "since": st.sampled_from([3_600.0, -3_600.0]),
    },
)


@given(
    finished=rows,
    waiting=rows,
    later=rows,
    filters=conditions,
    backlog_records=st.one_of(st.none(), st.integers(0, 5)),
    size=st.integers(1, 10),
)
def test_a_follower_has_what_a_query_finds_without_gap_or_double(
    finished: list[tuple[str | None, int, str]],
    waiting: list[tuple[str | None, int, str]],
    later: list[tuple[str | None, int, str]],
    filters: Conditions,
    backlog_records: int | None,
    size: int,
) -> None:
    """Some records are finished when it starts, some wait, and some come later."""
    fields = enumerate([*finished, *waiting, *later])
    logged = [sealed(number, *each) for number, each in fields]
    whole = Query(**filters, limit=None, newest_first=False)
    stage = Stage()
    stage.finish(logged[: len(finished)])
    stage.unfinished = logged[len(finished) : len(finished) + len(waiting)]
    before = stage.ring.select(whole)
    follower = stage.follow(backlog_records, **filters)
    stage.unfinished = []
    for start in range(len(finished), len(logged), size):
        stage.finish(logged[start : start + size])
    stage.followers.end()

    if backlog_records is None:
        backlog_records = len(before) if "since" in filters else 0
    everything = stage.ring.select(whole)
    assert list(follower) == everything[max(len(before) - backlog_records, 0) :]
    assert follower.missed == 0


def test_who_follows_a_job_hears_of_jobs_that_begin_in_it_later(
    harness: Harness,
) -> None:
    def work(*jobs: str) -> None:
        with contextlib.ExitStack() as inside:
            for job in jobs:
                inside.enter_context(otel_tasklog.task(job))
                harness.log.info(job)

    work("import", "file-1")
    follower = harness.tasklog.follow("under:import -file-1", backlog_records=10)
    work("report", "page-1")
    work("import", "file-2", "row-7")
    harness.tasklog.close()
    found = [record.message for record in follower]
    assert found == ["import", "import", "file-2", "row-7"]


def test_a_record_whose_call_was_under_way_is_not_left_out() -> None:
    """It has drawn its number, and is appended after one with a higher number."""
    stage = Stage()
    stage.finish([sealed(0)])
    stage.unfinished = [sealed(2)]
    follower = stage.follow(backlog_records=2)
    stage.finish([sealed(2), sealed(1), sealed(3)])
    stage.followers.end()
    assert sequences(follower) == [0, 2, 1, 3]


@given(
    steps=st.lists(st.integers(-5, 20)), room=st.integers(1, 10), filtered=st.booleans()
)
def test_what_was_read_and_what_was_missed_is_all_there_was(
    steps: list[int],
    room: int,
    filtered: bool,  # noqa: FBT001 - drawn
) -> None:
    """And no more wait than there is room for, which are the newest."""
    every = 2 if filtered else 1
    feed = Feed([lambda r: r[0] % 2 == 0] if filtered else [], [], room)
    offered = 0
    seen: list[int] = []
    for step in steps:
        if step > 0:
            feed.offer([sealed(n) for n in range(offered, offered + step)])
            offered += step
            passed = -(-offered // every)
            assert 0 <= passed - len(seen) - feed.missed <= room
        elif step:
            taken = feed.take(-step)
            assert taken is None or 1 <= len(taken) <= -step
            seen += sequences(taken or [])
    feed.end()
    while taken := feed.take(3):
        seen += sequences(taken)
    assert sorted(set(seen)) == seen
    assert len(seen) + feed.missed == -(-offered // every)
    newest = range(0, offered, every)[-room:]
    assert set(newest) <= set(seen)


def test_no_more_is_kept_for_a_reader_than_there_is_room_and_a_part() -> None:
    """Parts that are wholly too old go; a single large one is cut."""
    feed = Feed([], [], 10)
    for start in range(0, 100, 4):
        feed.offer([sealed(n) for n in range(start, start + 4)])
        assert sum(len(part) for _, part in feed._parts) <= 10 + 4
    feed.offer([sealed(n) for n in range(100, 150)])
    [(_, part)] = feed._parts
    assert [record[0] for record in part] == [*range(140, 150)]
    assert feed.missed == 140


def test_a_follower_of_all_shares_what_was_published_with_the_others() -> None:
    """It costs the worker one step for each part, not for each record."""
    stage = Stage()
    followers = [stage.follow() for _ in range(2)]
    published = [sealed(n) for n in range(5)]
    stage.finish(published)
    for follower in followers:
        [(_, part)] = follower._feed._parts
        assert part is published


def test_a_reader_looks_once_more_before_it_waits() -> None:
    feed = Feed([], [], 10)
    assert feed.take(1) is None
    feed.offer([sealed(0)])  # while there is nobody to wake
    with feed.woken_by(lambda: None) as changed:
        assert changed


def test_a_feed_that_is_closed_while_it_is_offered_something_is_empty() -> None:
    def close_it(_: Sealed) -> bool:
        feed.close()
        return True

    feed = Feed([close_it], [], 10)
    feed.offer([sealed(0)])
    assert feed.take(1) == []


def test_what_was_on_its_way_is_compared_no_longer_once_it_has_come() -> None:
    """As nearly every follower's first records are, of a program that logs a lot."""
    stage = Stage()
    stage.unfinished = [sealed(1), sealed(0)]
    feed = stage.follow()._feed

    def compares() -> bool:
        return feed._left_out is not None

    for number in (1, 0):
        stage.finish([sealed(number)])
        assert feed.take(10) is None
        assert compares()
    stage.finish([sealed(2)])
    assert not compares()
    assert sequences(feed.take(10) or []) == [2]


def test_many_are_taken_at_once_as_they_are_there(harness: Harness) -> None:
    async def main() -> None:
        harness.log.info("old")
        async with harness.tasklog.follow(backlog_records=1) as follower:
            for number in range(5):
                harness.log.info("%d", number)
            assert await harness.tasklog.aflush()

            async def texts() -> list[str]:
                return [record.message for record in await follower.take(3)]

            assert [await texts(), await texts(), await texts()] == [
                ["old"], ["0", "1", "2"], ["3", "4"],
            ]  # fmt: skip
            waiting = asyncio.create_task(texts())
            await asyncio.sleep(0)
            harness.log.info("new")
            assert await waiting == ["new"]
            with pytest.raises(ConfigError, match="max_records"):
                await follower.take(0)
            await harness.tasklog.aclose()
            assert await follower.take(3) == []

    asyncio.run(main())


def test_a_slow_reader_misses_the_oldest_and_knows_how_many(
    make: Callable[..., Harness],
) -> None:
    """With both ends at work at once, in threads."""
    harness = make(schedule_delay_seconds=0.001)
    follower = harness.tasklog.follow(buffer_records=10, text="yes")
    seen: list[int] = []
    reader = threading.Thread(target=lambda: seen.extend(sequences(follower)))
    reader.start()
    for number in range(5_000):
        harness.log.info("yes %d" if number % 2 else "no %d", number)
    harness.tasklog.close()
    reader.join()
    assert len(seen) + follower.missed == 2_500
    assert sorted(set(seen)) == seen
    assert harness.last().sequence == seen[-1]


def test_records_come_in_order_until_the_tasklog_is_closed(harness: Harness) -> None:
    async def read(follower: Follower) -> list[str]:
        return [record.message async for record in follower]

    async def main() -> list[list[str]]:
        harness.log.info("before")
        readers = [
            asyncio.create_task(read(harness.tasklog.follow())),
            asyncio.create_task(read(harness.tasklog.follow(min_level="WARNING"))),
        ]
        for number in range(3):
            harness.log.info("%d", number)
            harness.log.warning("warning %d", number)
            await harness.tasklog.aflush()
        harness.log.info("last")
        await harness.tasklog.aclose()
        return await asyncio.gather(*readers)

    everything, warnings = asyncio.run(main())
    assert warnings == ["warning 0", "warning 1", "warning 2"]
    assert everything == [
        "0", "warning 0", "1", "warning 1", "2", "warning 2", "last",
    ]  # fmt: skip


def test_a_closed_tasklog_is_not_followed(harness: Harness) -> None:
    harness.tasklog.close()
    with pytest.raises(ClosedError, match="follow"):
        harness.tasklog.follow()


def test_a_record_is_in_the_ring_before_a_follower_has_it(harness: Harness) -> None:
    follower = harness.tasklog.follow()
    harness.log.info("x")
    assert next(follower) == harness.last()


def test_a_read_that_times_out_or_is_cancelled_loses_nothing(
    harness: Harness,
) -> None:
    async def main() -> None:
        async with harness.tasklog.follow() as follower:
            with pytest.raises(TimeoutError):
                await asyncio.wait_for(anext(follower), 0)
            reading = asyncio.create_task(follower.__anext__())
            await asyncio.sleep(0)
            harness.log.info("x")
            reading.cancel()
            await asyncio.wait([reading])
            assert reading.cancelled()
            assert (await anext(follower)).message == "x"

    asyncio.run(main())


def test_a_cancelled_reader_is_followed_no_longer(harness: Harness) -> None:
    async def read(reading: asyncio.Event) -> None:
        async with harness.tasklog.follow() as follower:
            reading.set()
            async for _ in follower:
                pass

    async def main() -> None:
        started = asyncio.Event()
        reader = asyncio.create_task(read(started))
        await started.wait()
        assert harness.tasklog._followers
        reader.cancel()
        await asyncio.wait([reader])
        assert not harness.tasklog._followers

    asyncio.run(main())


def test_a_forgotten_follower_is_gone(harness: Harness) -> None:
    async def read_one() -> None:
        harness.log.info("0")
        async for record in harness.tasklog.follow(backlog_records=1):
            if record.message == "1":
                break
            harness.log.info("1")

    asyncio.run(read_one())
    assert harness.tasklog.flush()  # the worker has let go of it
    assert not harness.tasklog._followers
    follower = harness.tasklog.follow()
    harness.log.info("x")
    assert next(follower).message == "x"
    assert harness.tasklog.flush()
    assert harness.tasklog._followers
    del follower  # no cycle keeps it until the garbage collector comes
    assert not harness.tasklog._followers


def test_a_loop_that_was_closed_on_its_reader_harms_nobody(harness: Harness) -> None:
    loop = asyncio.new_event_loop()
    follower = harness.tasklog.follow()
    reader = loop.create_task(follower.__anext__())
    loop.run_until_complete(asyncio.sleep(0))
    reader._log_destroy_pending = False  # type: ignore[attr-defined]
    loop.close()
    with harness.tasklog.follow() as other:
        harness.log.info("x")
        assert next(other).message == "x"
    assert harness.tasklog.flush()
    assert not harness.tasklog._followers
    assert list(follower) == []


def test_a_reader_may_log(harness: Harness) -> None:
    async def main() -> list[str]:
        seen = []
        harness.log.info("0")
        async for record in harness.tasklog.follow(backlog_records=1):
            seen.append(record.message)
            if len(seen) == 5:
                break
            harness.log.info("%d", len(seen))
        return seen

    assert asyncio.run(main()) == ["0", "1", "2", "3", "4"]


def test_a_follower_has_one_reader_at_a_time(harness: Harness) -> None:
    async def main() -> None:
        async with harness.tasklog.follow() as follower:
            first = asyncio.create_task(follower.__anext__())
            await asyncio.sleep(0)
            with pytest.raises(FollowerError, match="once for each reader"):
                await anext(follower)
            harness.log.info("x")
            assert (await first).message == "x"

    asyncio.run(main())


def test_for_in_a_coroutine_is_refused(harness: Harness) -> None:
    async def main() -> None:
        with harness.tasklog.follow() as follower:
            with pytest.raises(FollowerError, match="use 'async for'"):
                iter(follower)
            with pytest.raises(FollowerError, match="use 'async for'"):
                next(follower)

    asyncio.run(main())


def wait_until_read(follower: Follower) -> None:
    """Wait until its reader waits."""
    deadline = time.monotonic() + 30
    while follower._feed.bell is None and time.monotonic() < deadline:
        time.sleep(0.001)


def test_a_thread_reads_until_somebody_closes_its_follower(harness: Harness) -> None:
    follower = harness.tasklog.follow()
    seen: SimpleQueue[str] = SimpleQueue()

    def read() -> None:
        for record in follower:
            seen.put(record.message)

    reader = threading.Thread(target=read)
    reader.start()
    harness.log.info("x")
    assert seen.get(timeout=30) == "x"
    follower.close()
    reader.join()
    harness.log.info("y")
    assert harness.tasklog.flush()
    assert list(follower) == []


def test_ctrl_c_ends_a_read_and_loses_nothing(harness: Harness) -> None:
    follower = harness.tasklog.follow()
    main = threading.main_thread().ident
    assert main is not None

    def press() -> None:
        wait_until_read(follower)
        signal.pthread_kill(main, signal.SIGINT)

    threading.Thread(target=press).start()
    with pytest.raises(KeyboardInterrupt):
        next(follower)
    harness.log.info("x")
    assert next(follower).message == "x"


def test_closing_forgets_what_was_not_read(harness: Harness) -> None:
    with harness.tasklog.follow() as follower:
        harness.log.info("x")
        assert harness.tasklog.flush()
    assert list(follower) == []
    assert not harness.tasklog._followers


class Hostile(str):
    """A filter whose comparisons fail."""

    __slots__ = ()
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise ValueError("no comparison")


def test_a_filter_that_raises_ends_its_follower_alone(
    harness: Harness, capsys: pytest.CaptureFixture[str]
) -> None:
    hostile = harness.tasklog.follow(logger=Hostile(harness.log.name))
    other = harness.tasklog.follow()
    harness.log.info("x")
    harness.log.info("y")
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 2
    assert [next(other).message, next(other).message] == ["x", "y"]
    with pytest.raises(FollowerError, match="no comparison"):
        next(hostile)
    harness.tasklog.close()
    assert capsys.readouterr().err.count("no comparison") == 1
    assert list(other) == []
    other.close()
    assert not harness.tasklog._followers


@pytest.mark.parametrize(
    "arguments",
    [
        {"limit": 5},
        {"until": 5.0},
        {"newest_first": False},
        {"buffer_records": 0},
        {"backlog_records": -1},
        {"backlog_records": "all"},
        {"since": "5m"},
        {"min_level": "LOUD"},
        {"levle": "INFO"},
    ],
    ids=lambda arguments: "{}={!r}".format(*next(iter(arguments.items()))),
)
def test_what_no_follower_can_have_is_refused(
    harness: Harness, arguments: dict[str, Any]
) -> None:
    with pytest.raises(ConfigError, match=next(iter(arguments))):
        harness.tasklog.follow(**arguments)
    assert not harness.tasklog._followers


def test_attributes_are_compared_as_they_are_logged(harness: Harness) -> None:
    class Colour(enum.Enum):
        RED = 1

    extra: dict[str, object] = {"colour": Colour.RED, "sizes": [1, {"a": 2}]}
    with harness.tasklog.follow(attributes=extra) as follower:
        harness.log.info("x")
        harness.log.info("y", extra=extra)
        assert next(follower).message == "y"
    [found] = harness.tasklog.query(attributes=extra)
    assert found.message == "y"


def test_the_log_call_wakes_no_reader_and_waits_for_none(harness: Harness) -> None:
    """Nobody gets to publish meanwhile, and the call returns all the same."""
    follower = harness.tasklog.follow()
    called_by: list[int] = []
    with follower._feed.woken_by(lambda: called_by.append(threading.get_ident())):
        with harness.tasklog._worker.lock:
            logger = threading.Thread(target=lambda: harness.log.info("x"))
            logger.start()
            logger.join()
            assert not called_by
        assert harness.tasklog.flush()
    assert called_by == [harness.tasklog.port.worker_thread]


@pytest.fixture
def by_hand(monkeypatch: pytest.MonkeyPatch) -> Iterator[TaskLog]:
    """A TaskLog whose worker turns when the test says so."""
    monkeypatch.setattr(Threads, "start", lambda _threads: True)
    tasklog = TaskLog(Config(schedule_delay_seconds=1.0), sender=MemorySender())
    tasklog._worker.clock = FakeClock()
    yield tasklog
    monkeypatch.setattr(Threads, "start", lambda _threads: False)


def log(tasklog: TaskLog, message: str) -> None:
    tasklog.handler.handle(logging.makeLogRecord({"msg": message, "levelno": 20}))


def test_the_parents_followers_end_in_a_forked_child(by_hand: TaskLog) -> None:
    """As the hook of a fork has it; the reader in the parent's loop is left alone."""
    follower = by_hand.follow()
    log(by_hand, "the parent's")
    by_hand._worker.turn(Wake.MANY)
    woken: list[None] = []
    with follower._feed.woken_by(lambda: woken.append(None)):
        by_hand.renew()
    assert list(follower) == []
    assert not woken
    follower = by_hand.follow()
    log(by_hand, "the child's")
    by_hand._worker.turn(Wake.MANY)
    assert next(follower).message == "the child's"


def test_a_follower_gets_a_record_soon_and_the_receiver_when_it_would(
    by_hand: TaskLog,
) -> None:
    worker, inbox = by_hand._worker, by_hand._intake.inbox
    clock = worker.clock
    assert isinstance(clock, FakeClock)

    def turn() -> float:
        wait = worker.turn(None)
        while not inbox.empty():
            wait = worker.turn(inbox.get())
        return wait

    log(by_hand, "not followed")
    assert turn() == pytest.approx(1.0)
    follower = by_hand.follow()
    log(by_hand, "first")
    assert turn() == pytest.approx(1.0)  # taken at once; until the batch is closed
    assert next(follower).message == "first"
    for number in range(9):
        log(by_hand, str(number))
        assert turn() == pytest.approx(0.1)
        clock.advance(0.1)
        turn()
        assert next(follower).message == str(number)
        assert worker.to_send.empty()
    clock.advance(0.1)
    turn()
    batch = worker.to_send.get_nowait()
    assert batch is not None
    assert batch.records == 11
    follower.close()
    log(by_hand, "not followed")
    assert turn() == pytest.approx(1.0)


def test_the_end_does_not_wait_for_a_followers_sake(by_hand: TaskLog) -> None:
    worker = by_hand._worker
    with by_hand.follow():
        log(by_hand, "x")
        worker.turn(Stop(worker.clock.monotonic() + 5.0))
        assert not worker.to_send.empty()
