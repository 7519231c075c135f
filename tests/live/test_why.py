"""All that can be told of one live task."""

from __future__ import annotations

import asyncio
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from loops import LOOPS
from opentelemetry.sdk.trace import TracerProvider

from otel_tasklog import ConfigError, TaskNotFoundError, TaskReport, task

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from conftest import Harness
    from loops import Run

run_in = pytest.mark.parametrize("run", LOOPS)


async def ask(harness: Harness, wanted: Any, **kwargs: Any) -> TaskReport:
    loop = asyncio.get_running_loop()
    for _ in range(10):
        await asyncio.sleep(0)
    return await asyncio.to_thread(
        lambda: harness.tasklog.why(wanted, loop=loop, **kwargs)
    )


async def why(harness: Harness, awaiting: Coroutine[Any, Any, Any]) -> TaskReport:
    """Return what is told of a coroutine that waits, in a task of its own."""
    started = asyncio.create_task(awaiting, name="it")
    report = await ask(harness, "it")
    await ended(started)
    return report


async def ended(*tasks: asyncio.Task[Any]) -> None:
    for each in tasks:
        each.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def forever() -> None:
    await asyncio.Event().wait()


@run_in
def test_the_stack_is_that_of_the_coroutines(harness: Harness, run: Run) -> None:
    async def inner() -> None:
        await asyncio.sleep(60)

    async def outer() -> None:
        await inner()

    report = run(why(harness, outer()))
    names = [frame.function.rpartition(".")[2] for frame in report.stack]
    assert names == ["outer", "inner", "sleep"]
    assert report.stack[0].path == __file__
    assert report.stack[1].line == inner.__code__.co_firstlineno + 1
    assert report.task.wait is not None
    assert report.task.wait.text == "sleep(60)"


@run_in
def test_of_a_task_that_runs_the_stack_has_what_it_calls(
    harness: Harness, run: Run
) -> None:
    begun, go_on = threading.Event(), threading.Event()
    reports: list[TaskReport] = []

    def blocks() -> None:
        begun.set()
        go_on.wait()

    async def busy() -> None:
        blocks()

    async def main() -> None:
        loop, busy_one = asyncio.get_running_loop(), asyncio.create_task(busy())

        def look() -> None:
            begun.wait()
            reports.append(harness.tasklog.why(busy_one, loop=loop))
            go_on.set()

        looking = threading.Thread(target=look)
        looking.start()
        await busy_one
        looking.join()

    run(main())
    names = [frame.function.rpartition(".")[2] for frame in reports[0].stack]
    assert names[:3] == ["busy", "blocks", "wait"]
    assert reports[0].lost_waker is None


def test_a_task_that_asks_for_itself_is_where_it_asks(harness: Harness) -> None:
    async def asks() -> TaskReport:
        this = asyncio.current_task()
        assert this is not None
        return harness.tasklog.why(this)

    report = asyncio.run(asks())
    assert [frame.function.rpartition(".")[2] for frame in report.stack] == ["asks"]


@run_in
def test_those_that_wait_for_it_are_named(harness: Harness, run: Run) -> None:
    async def main() -> None:
        inner = asyncio.create_task(forever(), name="inner")

        async def one() -> None:
            await inner

        async def several() -> None:
            await asyncio.gather(inner, forever())

        waiters = [
            asyncio.create_task(one(), name="one"),
            asyncio.create_task(several(), name="several"),
            asyncio.create_task(forever(), name="other"),
        ]
        report = await ask(harness, inner)
        assert sorted(each.name for each in report.awaited_by) == ["one", "several"]
        await ended(*waiters, inner)

    run(main())


def test_its_newest_records_are_there_the_oldest_first(harness: Harness) -> None:
    async def loud() -> None:
        for number in range(5):
            harness.log.info("%d", number)
        await forever()

    async def main() -> None:
        started = asyncio.create_task(loud(), name="it")
        report = await ask(harness, "it", records=3)
        assert [record.message for record in report.records] == ["2", "3", "4"]
        assert report.task.records == 5
        assert report.task.last == report.records[-1]
        assert (await ask(harness, started, records=0)).records == ()
        await ended(started)

    asyncio.run(main())


@run_in
def test_its_trace_is_the_one_that_it_is_in_now(harness: Harness, run: Run) -> None:
    """Up to Python 3.11 that of its newest record."""
    tracer = TracerProvider().get_tracer("test")
    spans: list[Any] = []

    async def traced() -> None:
        with tracer.start_as_current_span("outer") as outer:
            harness.log.info("in the outer")
            with tracer.start_as_current_span("inner") as inner:
                spans.extend([outer, inner])
                await forever()

    report = run(why(harness, traced()))
    now = spans[1] if sys.version_info >= (3, 12) else spans[0]
    context = now.get_span_context()
    assert report.trace_id == f"{context.trace_id:032x}"
    assert report.span_id == f"{context.span_id:016x}"


def test_outside_of_a_trace_there_is_none(harness: Harness) -> None:
    report = asyncio.run(why(harness, forever()))
    assert (report.trace_id, report.span_id) == (None, None)


KEPT: list[asyncio.Future[None]] = []


def future() -> asyncio.Future[None]:
    return asyncio.get_running_loop().create_future()


async def of_nobody() -> None:
    await future()


async def of_a_local_variable() -> None:
    lost = future()
    await lost


async def deep_inside() -> None:
    async def inner(lost: asyncio.Future[None]) -> None:
        await lost

    await inner(future())


async def of_others() -> None:
    KEPT.append(future())
    await KEPT[-1]


async def of_a_closure() -> None:
    kept = future()
    asyncio.get_running_loop().call_later(60, lambda: kept.set_result(None))
    await kept


async def of_a_timer() -> None:
    await asyncio.sleep(60)


async def of_a_lock() -> None:
    lock = asyncio.Lock()
    async with lock, lock:
        pass


async def of_a_thread() -> None:
    done = threading.Event()
    try:
        await asyncio.to_thread(done.wait)
    finally:
        done.set()


async def of_children() -> None:
    await asyncio.gather(forever(), forever())


WAKERS = [
    (of_nobody, True),
    (of_a_local_variable, True),
    (deep_inside, True),
    (of_others, False),
    (of_a_closure, False),
    (of_a_timer, False),
    (of_a_lock, False),
    (of_a_thread, False),
    (of_children, False),
]


@run_in
@pytest.mark.parametrize(
    ("wait", "lost"), WAKERS, ids=[each.__name__ for each, _ in WAKERS]
)
def test_a_future_that_nobody_else_has_is_told(
    harness: Harness, run: Run, wait: Any, lost: object
) -> None:
    assert run(why(harness, wait())).lost_waker is lost
    KEPT.clear()


def test_a_task_that_waits_for_another_has_no_waker_to_lose(harness: Harness) -> None:
    async def main() -> None:
        inner = asyncio.create_task(forever())

        async def outer() -> None:
            await inner

        assert (await why(harness, outer())).lost_waker is None

    asyncio.run(main())


def test_the_task_of_a_number_by_which_others_are_called_is_named(
    harness: Harness,
) -> None:
    numbers: list[int | None] = []

    async def work(job: str | None) -> None:
        with task(job):
            harness.log.info("numbered")
            numbers.append(harness.last().asyncio_task_number)
            await forever()

    async def main() -> None:
        first = asyncio.create_task(work(None), name="first")
        await asyncio.sleep(0)
        number = str(numbers[0])
        called = asyncio.create_task(work(number), name="called")
        report = await ask(harness, number)
        assert report.task.name == "called"
        assert report.others == ((numbers[0], "first"),)
        await ended(called)
        with pytest.raises(TaskNotFoundError) as refused:
            await ask(harness, number)
        assert str(refused.value).endswith(f"; #{number} is the task of that number")
        await ended(first)

    asyncio.run(main())


def test_of_several_the_first_is_told_and_the_others_are_named(
    harness: Harness,
) -> None:
    async def work() -> None:
        harness.log.info("numbered")
        await forever()

    async def main() -> None:
        with task("order-1"):
            tasks = [asyncio.create_task(work(), name=f"w-{n}") for n in range(3)]
        report = await ask(harness, "order-1")
        assert report.task.name == "w-0"
        assert [each.name for each in report.others] == ["w-1", "w-2"]
        await ended(*tasks)

    asyncio.run(main())


def test_of_a_task_that_is_done_nothing_is_told(harness: Harness) -> None:
    async def says() -> None:
        harness.log.info("done")

    async def main() -> None:
        done = asyncio.create_task(says(), name="done")
        await done
        with pytest.raises(TaskNotFoundError, match=r"^no live task: task #\d+ done"):
            harness.tasklog.why(done)
        with pytest.raises(TaskNotFoundError, match=r"^no live task: job done; its"):
            harness.tasklog.why("done")
        with pytest.raises(LookupError, match=r"^nothing is called nix"):
            harness.tasklog.why("nix")

    asyncio.run(main())


def test_a_number_of_records_below_0_is_refused(harness: Harness) -> None:
    with pytest.raises(ConfigError, match="records=-1"):
        harness.tasklog.why("it", records=-1)


def test_the_report_is_made_while_the_loop_runs_on(harness: Harness) -> None:
    """Whatever the task does meanwhile."""
    stop = threading.Event()

    async def restless() -> None:
        while not stop.is_set():
            harness.log.info("on")
            await asyncio.sleep(0)

    async def main() -> None:
        started = asyncio.create_task(restless(), name="it")
        await asyncio.sleep(0)

        def look() -> None:
            for _ in range(50):
                assert harness.tasklog.why(started).task.name == "it"
            stop.set()

        await asyncio.to_thread(look)
        await started

    asyncio.run(main())
