"""With task_lifecycle=True, the begin and the end of each asyncio task are records."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import weakref
from collections.abc import Callable, Coroutine, Generator
from contextvars import ContextVar, copy_context
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog
from otel_tasklog import Config, TaskLog, TaskRecord, task
from otel_tasklog.live._lifecycle import LIFECYCLE_LOGGER, TaskLifecycle

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = logging.getLogger()
LOGGER = logging.getLogger(LIFECYCLE_LOGGER)
Runner = Callable[[Coroutine[Any, Any, Any]], Any]
EAGER = pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="eager tasks are there from Python 3.12 on; to enable: run on it",
)


async def named(coro: Coroutine[Any, Any, Any]) -> Any:
    current = asyncio.current_task()
    assert current is not None
    current.set_name("main")
    return await coro


def on_asyncio(coro: Coroutine[Any, Any, Any]) -> Any:
    """Run a coroutine in a task called main."""
    return asyncio.run(named(coro))


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Do so on each kind of event loop."""
    if request.param == "uvloop":
        reason = "uvloop is not installed; to enable: pip install -e '.[test]'"
        uvloop = pytest.importorskip("uvloop", reason=reason)
        return lambda coro: uvloop.run(named(coro))
    return on_asyncio


@pytest.fixture(autouse=True)
def _same_logger_afterwards() -> Iterator[None]:
    yield
    LOGGER.setLevel(logging.NOTSET)
    LOGGER.handlers.clear()
    LOGGER.filters.clear()


def install(**settings: Any) -> TaskLog:
    settings = {
        "exporter": None, "level": "INFO", "console": False, "task_lifecycle": True,
        **settings,
    }  # fmt: skip
    return otel_tasklog.install(**settings)


def lives(tasklog: TaskLog, **filters: Any) -> list[TaskRecord]:
    """Return the records of tasks' lives, the oldest first."""
    return tasklog.query(logger=LIFECYCLE_LOGGER, newest_first=False, **filters)


def texts(tasklog: TaskLog) -> list[str]:
    """Return their messages, without how long it took."""
    return [each.message.partition(" after ")[0] for each in lives(tasklog)]


async def quick() -> None:
    pass


class Lost(ConnectionError):  # noqa: N818 - it is named after what it stands for
    """Falsy, as an exception with a length may be."""

    def __bool__(self) -> bool:
        return False


async def fail() -> None:
    await asyncio.sleep(0)
    raise Lost("the bank hung up")


# What the records say


def test_the_begin_and_the_end_are_records_of_the_task(run: Runner) -> None:
    async def speak() -> None:
        ROOT.info("speaking")
        await asyncio.sleep(0.01)

    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await asyncio.create_task(speak(), name="pay-2")
            return tasklog.query(newest_first=False)

    created, spoken, ended = run(main())
    assert created.message == "asyncio task pay-2 created by main"
    assert ended.message.startswith("asyncio task pay-2 finished after 0.0")
    assert created.who == spoken.who == ended.who
    assert spoken.asyncio_task_name == spoken.task_id == "pay-2"
    assert {created.logger, ended.logger} == {"otel_tasklog.lifecycle"}
    assert {created.severity_text, ended.severity_text} == {"INFO"}
    coroutine = f"{speak.__qualname__}"
    assert dict(created.attributes) == {
        "event.name": "asyncio.task.created",
        "asyncio.task.coroutine": coroutine,
        "asyncio.task.parent_name": "main",
    }
    seconds = ended.attributes["duration_seconds"]
    assert isinstance(seconds, float)
    assert 0 < seconds < 10
    assert dict(ended.attributes) == {
        "event.name": "asyncio.task.ended",
        "outcome": "ok",
        "duration_seconds": seconds,
        "asyncio.task.coroutine": coroutine,
        "asyncio.task.parent_name": "main",
    }


def test_the_places_are_where_it_is_created_and_what_it_runs(run: Runner) -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await asyncio.gather(quick())
            return lives(tasklog)

    created, ended = run(main())
    code = main.__code__
    assert (created.origin.path, created.origin.function) == (__file__, "main")
    assert created.origin.line == code.co_firstlineno + 2
    code = quick.__code__
    assert (ended.origin.path, ended.origin.function) == (__file__, "quick")
    assert ended.origin.line == code.co_firstlineno


def test_a_parent_is_known_though_it_never_logged(run: Runner) -> None:
    async def child() -> None:
        await asyncio.create_task(quick(), name="grandchild")

    async def main() -> dict[str | None, TaskRecord]:
        async with install() as tasklog:
            await asyncio.create_task(child(), name="child")
            return {each.asyncio_task_name: each for each in lives(tasklog)}

    found = run(main())
    assert found["grandchild"].who.parent_number == found["child"].asyncio_task_number
    assert found["grandchild"].attributes["asyncio.task.parent_name"] == "child"
    assert found["child"].attributes["asyncio.task.parent_name"] == "main"


def test_the_name_is_that_which_the_task_has_at_the_time() -> None:
    async def rename() -> None:
        current = asyncio.current_task()
        assert current is not None
        current.set_name("then")

    async def main() -> list[str]:
        async with install() as tasklog:
            await asyncio.create_task(rename(), name="first")
            return texts(tasklog)

    assert on_asyncio(main()) == [
        "asyncio task first created by main", "asyncio task then finished",
    ]  # fmt: skip


def test_the_job_and_the_trace_are_those_that_it_was_created_in(run: Runner) -> None:
    tracer = TracerProvider().get_tracer("test")

    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            with task("order-1"), tracer.start_as_current_span("paying") as span:
                paying = asyncio.create_task(quick())
                trace_id = f"{span.get_span_context().trace_id:032x}"
            await paying
            found = lives(tasklog)
            assert {each.trace_id for each in found} == {trace_id}
            return found

    assert [each.task_id for each in run(main())] == ["order-1", "order-1"]


def test_the_context_that_a_task_is_given_counts() -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            with task("order-1"):
                given = copy_context()
            await asyncio.create_task(quick(), context=given)
            return lives(tasklog)

    assert [each.task_id for each in on_asyncio(main())] == ["order-1", "order-1"]


def test_a_task_may_be_given_the_context_that_runs() -> None:
    async def inner(tasklog: TaskLog) -> list[str]:
        known = asyncio.current_task()
        assert known is not None
        await asyncio.create_task(quick(), name="same", context=shared)
        return texts(tasklog)

    shared = copy_context()

    async def main() -> list[str]:
        async with install() as tasklog:
            return await asyncio.create_task(inner(tasklog), name="in", context=shared)

    assert on_asyncio(main())[-2:] == [
        "asyncio task same created by in", "asyncio task same finished",
    ]  # fmt: skip


class Own(Coroutine[Any, Any, None]):
    """What may be run as a task, too; of its definition nothing is known."""

    def send(self, value: object) -> None:
        raise StopIteration

    def throw(self, *raised: Any) -> None:
        raise StopIteration

    def close(self) -> None:
        pass

    def __await__(self) -> Generator[Any, Any, None]:
        yield


def test_whatever_can_be_a_task_has_both(run: Runner) -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await asyncio.get_running_loop().create_task(Own(), name="odd")
            return lives(tasklog)

    created, ended = run(main())
    assert created.who == ended.who
    assert created.asyncio_task_name == "odd"
    assert (created.origin.path, ended.origin.path) == (__file__, "(unknown file)")
    assert ended.attributes["outcome"] == "ok"


# How tasks end


def test_a_failure_is_a_warning_with_its_exception(run: Runner) -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            with pytest.raises(ConnectionError):
                await asyncio.create_task(fail(), name="pay-2")
            gc.collect()
            return tasklog.query(newest_first=False)

    _, ended = run(main())  # and nothing of asyncio's: it was retrieved
    assert ended.message.startswith("asyncio task pay-2 failed after ")
    assert ended.severity_text == "WARNING"
    assert ended.attributes["outcome"] == "error"
    assert ended.exception_type == f"{Lost.__module__}.Lost"
    assert 'raise Lost("the bank hung up")' in str(ended.exception_stacktrace)


def test_what_nobody_retrieves_is_still_said_and_has_its_task(run: Runner) -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await asyncio.wait([asyncio.create_task(fail(), name="pay-2")])
            gc.collect()
            return tasklog.query(newest_first=False)

    _, failed, lost = run(main())
    assert lost.message.startswith("Task exception was never retrieved")
    assert (lost.logger, lost.severity_text) == ("asyncio", "ERROR")
    assert lost.who == failed.who
    assert lost.asyncio_task_name == "pay-2"


def test_the_hooks_of_the_process_are_left_alone() -> None:
    before = sys.excepthook, threading.excepthook
    with install():
        assert (sys.excepthook, threading.excepthook) == before


class Leave(BaseException):
    """No fault of the task's."""


async def leave() -> None:
    raise Leave


async def cancelled() -> None:
    current = asyncio.current_task()
    assert current is not None
    current.cancel()
    await asyncio.sleep(10)


@pytest.mark.parametrize("ending", [cancelled, leave], ids=lambda each: each.__name__)
def test_what_comes_from_outside_is_cancelled(
    ending: Callable[[], Coroutine[Any, Any, None]], run: Runner
) -> None:
    async def main() -> TaskRecord:
        async with install() as tasklog:
            ended = asyncio.create_task(ending(), name="pay-2")
            await asyncio.wait([ended])
            with pytest.raises((asyncio.CancelledError, Leave)):
                ended.result()
            return lives(tasklog)[-1]

    record = run(main())
    assert record.message.startswith("asyncio task pay-2 was cancelled after ")
    assert (record.severity_text, record.exception_type) == ("INFO", None)
    assert record.attributes["outcome"] == "cancelled"


def test_a_task_that_is_cancelled_before_its_first_step_has_both(run: Runner) -> None:
    async def main() -> list[str]:
        async with install() as tasklog:
            never = asyncio.create_task(quick(), name="never")
            never.cancel()
            await asyncio.wait([never])
            return texts(tasklog)

    assert run(main()) == [
        "asyncio task never created by main", "asyncio task never was cancelled",
    ]  # fmt: skip


# Which tasks


async def by_group() -> None:
    async with asyncio.TaskGroup() as group:
        group.create_task(quick(), name="made")


async def by_gather() -> None:
    await asyncio.gather(quick())


async def by_loop() -> None:
    await asyncio.get_running_loop().create_task(quick(), name="made")


async def by_ensure_future() -> None:
    await asyncio.ensure_future(quick())


async def by_thread() -> None:
    loop = asyncio.get_running_loop()
    await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(quick(), loop))


@pytest.mark.parametrize(
    "make",
    [by_group, by_gather, by_loop, by_ensure_future, by_thread],
    ids=lambda each: each.__name__,
)
def test_however_it_is_made(
    make: Callable[[], Coroutine[Any, Any, None]], run: Runner
) -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await make()
            return lives(tasklog)

    created, ended = run(main())
    assert created.attributes["asyncio.task.coroutine"] == "quick"
    assert created.who == ended.who
    assert ended.attributes["outcome"] == "ok"


def test_of_a_task_that_was_there_before_the_end_is_known(run: Runner) -> None:
    async def main() -> list[TaskRecord]:
        there = asyncio.create_task(asyncio.sleep(0), name="early")
        async with install() as tasklog:
            await there
            return lives(tasklog)

    [ended] = run(main())
    assert ended.message == "asyncio task early finished"
    assert "duration_seconds" not in ended.attributes
    assert ended.asyncio_task_name == "early"


def test_a_loop_is_watched_from_another_thread(run: Runner) -> None:
    async def main() -> list[str]:
        async with install(task_lifecycle=False) as tasklog:
            lifecycle = TaskLifecycle()
            loop = asyncio.get_running_loop()
            await asyncio.to_thread(lifecycle.watch, loop)
            await asyncio.create_task(quick(), name="made")
            found = texts(tasklog)
            await asyncio.to_thread(lifecycle.close)
            await asyncio.create_task(quick(), name="later")
            assert texts(tasklog) == found
            return found

    assert run(main()) == [
        "asyncio task made created by main", "asyncio task made finished",
    ]  # fmt: skip


def test_a_loop_that_does_not_run_yet_is_watched_when_it_does() -> None:
    loop = asyncio.new_event_loop()
    with install(task_lifecycle=False) as tasklog:
        lifecycle = TaskLifecycle()
        lifecycle.watch(loop)
        loop.run_until_complete(loop.create_task(quick(), name="first"))
        loop.run_until_complete(loop.create_task(quick(), name="second"))
        lifecycle.close()
        found = texts(tasklog)
    loop.close()
    assert found == [
        "asyncio task first finished",
        "asyncio task second created",
        "asyncio task second finished",
    ]


def test_a_loop_is_known_by_its_first_record(run: Runner) -> None:
    async def main(tasklog: TaskLog) -> list[str]:
        loop = asyncio.get_running_loop()
        ROOT.info("here it is")
        deadline = loop.time() + 10
        while "create_task" not in vars(loop):
            assert loop.time() < deadline
            await asyncio.sleep(0.001)
        await asyncio.create_task(quick(), name="made")
        return texts(tasklog)

    with install(schedule_delay_seconds=0.01) as tasklog:
        assert run(main(tasklog)) == [
            "asyncio task made created by main", "asyncio task made finished",
        ]  # fmt: skip


def test_a_closed_loop_is_none_to_watch() -> None:
    loop = asyncio.new_event_loop()
    loop.close()
    TaskLifecycle().watch(loop)


def test_watching_twice_says_nothing_twice() -> None:
    async def main() -> list[str]:
        tasklog = install()
        async with tasklog:  # a second time
            await asyncio.create_task(quick(), name="made")
            return texts(tasklog)

    assert len(on_asyncio(main())) == 2


def test_of_two_tasklogs_each_has_each_record_once() -> None:
    async def main() -> tuple[list[str], list[str]]:
        two = TaskLog(Config(exporter=None, console=False, task_lifecycle=True))
        two.attach()
        async with install() as one, two:
            await asyncio.create_task(quick(), name="made")
            return texts(one), texts(two)

    one, two = on_asyncio(main())
    assert len(one) == 2
    assert one == two


def test_nothing_is_watched_unless_it_is_asked_for() -> None:
    async def main() -> None:
        async with install(task_lifecycle=False) as tasklog:
            assert "create_task" not in vars(asyncio.get_running_loop())
            await asyncio.create_task(quick())
            assert tasklog.query() == []

    on_asyncio(main())


# Task factories


def test_a_factory_of_the_application_is_called_and_stays(run: Runner) -> None:
    made: list[str] = []

    def factory(
        loop: asyncio.AbstractEventLoop, coro: Any, **options: Any
    ) -> asyncio.Task[Any]:
        made.append(coro.__name__)
        options.pop("eager_start", None)  # uvloop's, on every Python
        return asyncio.Task(coro, loop=loop, **options)

    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(factory)
        async with install() as tasklog:
            assert loop.get_task_factory() is factory
            await asyncio.create_task(quick(), name="made")
        assert loop.get_task_factory() is factory
        return texts(tasklog)

    assert run(main()) == [
        "asyncio task made created by main", "asyncio task made finished",
    ]  # fmt: skip
    assert "quick" in made


class Named(asyncio.Future[None]):
    """A future that is no task: Python 3.13.0 names what a factory returns."""

    def set_name(self, name: object) -> None:
        pass


def test_what_is_no_task_is_returned_as_it_is() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        async with install() as tasklog:
            future: object = Named()

            def factory(_: object, coro: Any, **options: object) -> Any:
                coro.close()
                return future

            loop.set_task_factory(factory)
            assert loop.create_task(quick()) is future
            loop.set_task_factory(None)
            await asyncio.sleep(0)
            assert lives(tasklog) == []

    on_asyncio(main())


@EAGER
def test_an_eager_task_makes_its_first_step_at_once() -> None:
    async def speak() -> None:
        ROOT.info("speaking")

    async def wait() -> None:
        ROOT.info("waiting")
        await asyncio.sleep(0)

    async def main() -> list[TaskRecord]:
        loop = asyncio.get_running_loop()
        loop.set_task_factory(asyncio.eager_task_factory)  # type: ignore[attr-defined]
        async with install() as tasklog:
            done = loop.create_task(speak(), name="done")
            assert done.done()
            await loop.create_task(wait(), name="waits")
            return tasklog.query(newest_first=False)

    found = on_asyncio(main())
    assert [each.message.partition(" after ")[0] for each in found] == [
        "speaking",
        "waiting",
        "asyncio task done created by main",
        "asyncio task done finished",
        "asyncio task waits created by main",
        "asyncio task waits finished",
    ]
    by_name = {
        name: {each.who for each in found if each.asyncio_task_name == name}
        for name in ("done", "waits")
    }
    assert [len(each) for each in by_name.values()] == [1, 1]
    [who] = by_name["done"]
    [other] = by_name["waits"]
    assert who.parent_number == other.parent_number is not None


def test_unnamed_tasks_keep_their_names() -> None:
    """A factory would cost them theirs, on Python 3.13.0 to 3.13.2."""

    async def main() -> str:
        async with install():
            return asyncio.create_task(quick()).get_name()

    assert on_asyncio(main()).startswith("Task-")


# What it does to the application


def test_errors_are_those_of_the_loops_own_method(run: Runner) -> None:
    async def main() -> None:
        async with install() as tasklog:
            create: Any = asyncio.get_running_loop().create_task
            with pytest.raises(TypeError, match="a coroutine was expected, got 7"):
                create(7)
            coro = quick()
            with pytest.raises(TypeError, match="nonsense"):
                create(coro, nonsense=1)
            coro.close()
            await asyncio.sleep(0)
            assert lives(tasklog) == []

    run(main())


def test_a_closed_loop_says_so_itself() -> None:
    async def main() -> None:
        install()

    loop = asyncio.new_event_loop()
    loop.run_until_complete(main())
    loop.close()
    coro = quick()
    with pytest.raises(RuntimeError, match="Event loop is closed"):
        loop.create_task(coro)  # noqa: RUF006 - there is none
    coro.close()
    otel_tasklog.current().close()


def test_close_gives_the_loop_its_method_back(run: Runner) -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own = loop.create_task
        async with install():
            assert loop.create_task != own
        assert loop.create_task == own
        assert "create_task" not in vars(loop)

    run(main())


def test_a_method_that_somebody_had_set_is_there_again() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        own, seen = loop.create_task, []

        def theirs(coro: Any, **options: Any) -> asyncio.Task[Any]:
            seen.append(coro)
            return own(coro, **options)

        loop.create_task = theirs  # type: ignore[method-assign]
        async with install():
            await asyncio.create_task(quick())
        assert loop.create_task is theirs
        assert len(seen) == 1

    on_asyncio(main())


def test_a_method_that_wraps_ours_stays_and_reaches_the_loop() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        tasklog = install()
        ours = loop.create_task

        def theirs(coro: Any, **options: Any) -> asyncio.Task[Any]:
            return ours(coro, **options)

        loop.create_task = theirs  # type: ignore[method-assign]
        await asyncio.create_task(quick(), name="made")
        await tasklog.aclose()
        assert loop.create_task is theirs
        await asyncio.create_task(quick(), name="later")
        return texts(tasklog)

    assert len(on_asyncio(main())) == 2


def test_a_loop_whose_method_cannot_be_set_is_said(said: list[str]) -> None:
    class Stubborn(asyncio.SelectorEventLoop):
        def __setattr__(self, name: str, value: object) -> None:
            if name == "create_task":
                raise AttributeError(name)
            super().__setattr__(name, value)

    async def main() -> None:
        async with install():
            await asyncio.create_task(quick())

    with asyncio.Runner(loop_factory=Stubborn) as runner:
        runner.run(main())
    [line] = [each for each in said if "task_lifecycle" in each]
    assert "Stubborn cannot be wrapped, so its tasks have no records" in line


def test_a_handler_that_makes_tasks_does_not_make_ever_more(run: Runner) -> None:
    made: list[asyncio.Task[None]] = []

    class Sending(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            made.append(asyncio.get_running_loop().create_task(quick(), name="sends"))

    async def main() -> list[str]:
        async with install() as tasklog:
            LOGGER.addHandler(Sending())
            await asyncio.create_task(quick(), name="made")
            await asyncio.wait(made)
            return texts(tasklog)

    assert run(main()) == [
        "asyncio task made created by main", "asyncio task made finished",
    ]  # fmt: skip
    assert len(made) == 2


def test_a_filter_that_raises_harms_nobody(run: Runner) -> None:
    def broken(record: logging.LogRecord) -> bool:
        raise ValueError(record)

    async def main() -> str:
        async with install():
            LOGGER.addFilter(broken)
            return await asyncio.create_task(asyncio.sleep(0, "result"))

    assert run(main()) == "result"


def test_at_warning_only_failures_are_records() -> None:
    async def main() -> list[str]:
        LOGGER.setLevel(logging.WARNING)
        async with install() as tasklog:
            await asyncio.create_task(quick(), name="works")
            await asyncio.wait([lost := asyncio.create_task(fail(), name="fails")])
            assert isinstance(lost.exception(), Lost)
            return texts(tasklog)

    assert on_asyncio(main()) == ["asyncio task fails failed"]


def test_above_that_tasks_are_made_as_if_it_were_not_there() -> None:
    async def main() -> None:
        LOGGER.setLevel(logging.ERROR)
        async with install() as tasklog:
            await asyncio.create_task(quick())
            assert tasklog.query() == []

    on_asyncio(main())


def test_a_task_that_nobody_has_is_freed_at_once() -> None:
    """Held for longer, what asyncio says of lost exceptions would come later."""

    async def main() -> None:
        async with install():
            ended = asyncio.create_task(fail())
            await asyncio.wait([ended])
            with pytest.raises(ConnectionError):
                ended.result()
            link = weakref.ref(ended)
            del ended
            assert link() is None

    gc.disable()
    try:
        on_asyncio(main())
    finally:
        gc.enable()


def test_loops_come_and_go() -> None:
    lifecycle = TaskLifecycle()

    async def main() -> weakref.ref[asyncio.AbstractEventLoop]:
        loop = asyncio.get_running_loop()
        lifecycle.watch(loop)
        return weakref.ref(loop)

    links = [on_asyncio(main()) for _ in range(3)]
    gc.collect()
    assert [link() for link in links] == [None, None, None]
    lifecycle.close()


def test_the_contexts_of_the_application_stay_as_they_are() -> None:
    variable: ContextVar[str] = ContextVar("variable", default="unset")

    class Setting(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            variable.set("by the handler")

    async def read() -> str:
        return variable.get()

    async def main() -> tuple[str, str]:
        async with install():
            LOGGER.addHandler(Setting())
            return await asyncio.create_task(read()), variable.get()

    assert on_asyncio(main()) == ("unset", "unset")
