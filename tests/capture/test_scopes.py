"""The records that a job starts and how it ended, in every way that it can."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import threading
from typing import TYPE_CHECKING, Any

import pytest

import otel_tasklog
from otel_tasklog import ConfigError, bind, current_task_id, task
from otel_tasklog.capture import _lifecycle

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from conftest import Harness

    from otel_tasklog import TaskRecord

HERE = __file__


class Jobs:
    """What was logged of jobs, and a clock that the test sets."""

    def __init__(self, harness: Harness) -> None:
        self.harness = harness
        self.now = 100.0

    @property
    def records(self) -> list[TaskRecord]:
        return self.harness.tasklog.query(newest_first=False, limit=None)

    @property
    def ended(self) -> TaskRecord:
        [*_, last] = self.records
        assert last.event_name == "task.end"
        return last

    def outcomes(self) -> list[tuple[object, object]]:
        return [
            (r.attributes["outcome"], r.attributes["duration_seconds"])
            for r in self.records
            if r.event_name == "task.end"
        ]


@pytest.fixture
def jobs(harness: Harness, monkeypatch: pytest.MonkeyPatch) -> Iterator[Jobs]:
    """The default logger of jobs feeds the harness alone."""
    logger = logging.getLogger(_lifecycle.TASK_LOGGER)
    logger.setLevel(logging.INFO)
    logger.propagate = False
    logger.handlers[:] = [harness.tasklog.handler]
    jobs = Jobs(harness)
    monkeypatch.setattr(_lifecycle, "monotonic", lambda: jobs.now)
    yield jobs
    logger.handlers.clear()
    logger.propagate = True
    logger.setLevel(logging.NOTSET)


def test_a_job_says_that_it_starts_and_how_it_ended(jobs: Jobs) -> None:
    with task("a", attributes={"user": "bob"}, lifecycle=True) as task_id:
        assert task_id == "a"
        jobs.now += 1.25
        bind(rows=7)
    start, end = jobs.records
    assert start.logger == end.logger == "otel_tasklog.task"
    assert start.level == end.level == logging.INFO
    assert start.task_id == end.task_id == "a"
    assert start.message == "task a started"
    assert end.message == "task a ended after 1.250 s"
    assert (start.event_name, end.event_name) == ("task.start", "task.end")
    assert start.attributes == {"user": "bob", "event.name": "task.start"}
    assert end.attributes == {
        "user": "bob", "rows": 7, "event.name": "task.end",
        "outcome": "ok", "duration_seconds": 1.25,
    }  # fmt: skip
    assert current_task_id() is None


def test_without_being_asked_a_job_says_nothing(jobs: Jobs) -> None:
    with task("a"):
        pass
    assert jobs.records == []


def test_a_failed_job_shows_its_exception_and_raises_it_unchanged(
    jobs: Jobs,
) -> None:
    error = ValueError("text")

    def work() -> None:
        with task("a", lifecycle=True):
            jobs.now += 2
            raise error

    with pytest.raises(ValueError, match="text") as caught:
        work()
    assert caught.value is error
    assert error.__context__ is None
    assert jobs.outcomes() == [("error", 2.0)]
    assert jobs.ended.level == logging.ERROR
    assert jobs.ended.message == "task a failed after 2.000 s"
    assert jobs.ended.exception_type == "ValueError"
    assert "raise error" in str(jobs.ended.exception_stacktrace)


@pytest.mark.parametrize(
    "raised",
    [asyncio.CancelledError, KeyboardInterrupt, SystemExit, GeneratorExit],
    ids=lambda kind: kind.__name__,
)
def test_what_ends_a_job_from_outside_is_no_failure(
    jobs: Jobs, raised: type[BaseException]
) -> None:
    with pytest.raises(raised), task("a", lifecycle=True):
        raise raised
    assert jobs.outcomes() == [("cancelled", 0.0)]
    assert jobs.ended.level == logging.INFO
    assert jobs.ended.exception_type is None
    assert jobs.ended.message == "task a was cancelled after 0.000 s"


def test_a_cancelled_task_is_a_cancelled_job(jobs: Jobs) -> None:
    async def main() -> None:
        entered = asyncio.Event()

        async def work() -> None:
            async with task("a", lifecycle=True):
                entered.set()
                await asyncio.Event().wait()

        working = asyncio.create_task(work(), name="worker")
        await entered.wait()
        working.cancel()
        with pytest.raises(asyncio.CancelledError):
            await working

    asyncio.run(main())
    assert jobs.outcomes() == [("cancelled", 0.0)]
    assert jobs.ended.asyncio_task_name == "worker"


def test_a_job_without_a_name_is_the_asyncio_tasks(jobs: Jobs) -> None:
    async def main() -> None:
        async with task(None, lifecycle=True):
            pass

    async def named() -> None:
        await asyncio.create_task(main(), name="100 %s")

    asyncio.run(named())
    with task(None, lifecycle=True):
        pass
    assert [r.message for r in jobs.records] == [
        "task 100 %s started",
        "task 100 %s ended after 0.000 s",
        "task started",
        "task ended after 0.000 s",
    ]


def line_of(text: str) -> int:
    """Return the number of the only line of this file that ends so."""
    with open(HERE, encoding="utf-8") as file:  # noqa: PTH123
        lines = file.read().splitlines()
    [number] = [n for n, line in enumerate(lines, 1) if line.endswith(f"# {text}")]
    return number


def test_the_place_is_the_applications_line(jobs: Jobs) -> None:
    async def asynchronous() -> None:
        async with task("b", lifecycle=True):  # async with
            pass
        async with contextlib.AsyncExitStack() as stack:  # left
            await stack.enter_async_context(task("c", lifecycle=True))  # entered

    def plain() -> None:
        with task("a", lifecycle=True):  # with
            pass

    plain()
    asyncio.run(asynchronous())
    assert {r.origin.path for r in jobs.records} == {HERE}
    assert [(r.origin.line, r.origin.function) for r in jobs.records] == [
        (line_of("with"), "plain"),
        (line_of("with"), "plain"),
        (line_of("async with"), "asynchronous"),
        (line_of("async with"), "asynchronous"),
        (line_of("entered"), "asynchronous"),
        (line_of("left"), "asynchronous"),
    ]


def test_decorated_functions_say_so_for_each_call(jobs: Jobs) -> None:
    @task(lambda order: f"order-{order}", lifecycle=True)  # charge
    async def charge(order: int) -> str | None:
        jobs.now += 0.5
        return current_task_id()

    @task("fails", lifecycle=True)  # fails
    def fails() -> None:
        raise ValueError("text")

    async def main() -> list[str | None]:
        return list(await asyncio.gather(charge(1), charge(2)))

    assert asyncio.run(main()) == ["order-1", "order-2"]
    with pytest.raises(ValueError, match="text"):
        fails()
    assert jobs.outcomes() == [("ok", 0.5), ("ok", 0.5), ("error", 0.0)]
    assert [r.task_id for r in jobs.records] == [
        "order-1", "order-1", "order-2", "order-2", "fails", "fails",
    ]  # fmt: skip
    trace = str(jobs.ended.exception_stacktrace)
    assert (trace.count("in fails"), trace.count("  File ")) == (1, 1)
    assert {
        (r.origin.path, r.origin.line, r.origin.function) for r in jobs.records
    } == {
        (HERE, line_of("charge"), "charge"),
        (HERE, line_of("fails"), "fails"),
    }


def test_a_call_that_nobody_goes_on_with_is_cancelled(jobs: Jobs) -> None:
    """Its coroutine is freed in a context that knows nothing of the scope."""

    @task(lambda order: f"order-{order}", lifecycle=True)
    async def charge(order: int) -> None:
        await asyncio.sleep(0)

    first, second = charge(1), charge(2)
    for call in (first, second):
        contextvars.copy_context().run(call.send, None)
        jobs.now += 1
    del call
    first.close()
    assert jobs.ended.task_id == "order-1"
    del second  # as the garbage collector does
    assert jobs.ended.task_id == "order-2"
    assert jobs.outcomes() == [("cancelled", 2.0), ("cancelled", 1.0)]
    assert {r.origin.path for r in jobs.records} == {HERE}


def test_each_entry_of_one_scope_has_its_own_duration(jobs: Jobs) -> None:
    scope = task("a", lifecycle=True)

    async def work(start: float, end: float, turn: Callable[[], Any]) -> None:
        jobs.now = start
        async with scope:
            await turn()
            jobs.now = end

    async def main() -> None:
        both = asyncio.Barrier(2)
        await asyncio.gather(work(0, 10, both.wait), work(3, 20, both.wait))

    asyncio.run(main())
    assert sorted(jobs.outcomes()) in (
        [("ok", 10.0), ("ok", 17.0)],
        [("ok", 7.0), ("ok", 20.0)],
    )
    with scope:
        jobs.now += 1
        with scope:
            jobs.now += 2
        jobs.now += 4
    assert jobs.outcomes()[2:] == [("ok", 2.0), ("ok", 7.0)]
    assert jobs.ended.who[:2] == ("a", None)


def test_threads_share_a_scope(jobs: Jobs) -> None:
    scope = task("a", lifecycle=True)

    def work() -> None:
        for _ in range(200):
            with scope:
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert jobs.outcomes() == [("ok", 0.0)] * 800


def test_a_job_that_ends_in_another_context_is_still_itself(jobs: Jobs) -> None:
    """As the clean-up of an async generator or of a yield-dependency is."""

    def dependency() -> Iterator[None]:
        with task("a", attributes={"k": 1}, lifecycle=True):
            jobs.now += 1
            yield

    async def rows() -> AsyncIterator[int]:
        async with task("rows", lifecycle=True):
            yield 1
            yield 2

    async def main() -> None:
        generator = rows()
        assert await asyncio.create_task(anext(generator)) == 1  # type: ignore[arg-type]
        with task("other"):
            await asyncio.create_task(generator.aclose())  # type: ignore[attr-defined]
            assert current_task_id() == "other"

    steps = dependency()
    contextvars.copy_context().run(next, steps)
    with task("other"):
        contextvars.copy_context().run(next, steps, None)
        assert current_task_id() == "other"
    assert (jobs.ended.task_id, jobs.ended.attributes["k"]) == ("a", 1)
    asyncio.run(main())
    assert jobs.ended.who[:2] == ("rows", None)
    assert jobs.outcomes() == [("ok", 1.0), ("cancelled", 0.0)]


def test_logging_that_fails_fails_no_job(jobs: Jobs) -> None:
    class Broken(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            raise OSError("the console is gone")

    logger = jobs.harness.log
    logger.addHandler(Broken())
    with task("a", lifecycle=logger):
        assert current_task_id() == "a"
    with pytest.raises(ValueError, match="text") as caught, task("a", lifecycle=logger):
        raise ValueError("text")
    assert caught.value.__context__ is None
    assert current_task_id() is None
    assert jobs.outcomes() == [("ok", 0.0), ("error", 0.0)]


def test_ctrl_c_while_a_job_says_something_leaves_no_scope(jobs: Jobs) -> None:
    class Interrupting(logging.Handler):
        def handle(self, record: logging.LogRecord) -> bool:
            if interrupted in record.getMessage():
                raise KeyboardInterrupt
            return True

    jobs.harness.log.addHandler(Interrupting())
    scope = task("a", lifecycle=jobs.harness.log)
    for interrupted in ("started", "ended"):
        with pytest.raises(KeyboardInterrupt), scope:
            assert interrupted == "ended"
        assert current_task_id() is None


def test_the_records_go_to_the_logger_that_is_given(
    jobs: Jobs, harness: Harness
) -> None:
    harness.log.setLevel(logging.ERROR)
    with task("a", lifecycle=harness.log):
        pass
    with contextlib.suppress(ValueError), task("b", lifecycle=harness.log):
        raise ValueError
    [failed] = jobs.records
    assert (failed.logger, failed.task_id) == (harness.log.name, "b")


@pytest.mark.parametrize("lifecycle", [None, 1, "shop"], ids=repr)
def test_a_lifecycle_is_a_yes_a_no_or_a_logger(lifecycle: Any) -> None:
    with pytest.raises(ConfigError, match=r"logging\.Logger"):
        otel_tasklog.task("a", lifecycle=lifecycle)
