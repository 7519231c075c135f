"""Exceptions that nobody catches: each a record, once, of whom it is about."""

from __future__ import annotations

import asyncio
import gc
import logging
import sys
import threading
import warnings
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog
from otel_tasklog import TaskLog, TaskRecord, task

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = logging.getLogger()
Runner = Callable[[Coroutine[Any, Any, Any]], Any]


@pytest.fixture(params=["asyncio", "uvloop"])
def run(request: pytest.FixtureRequest) -> Runner:
    """Run a coroutine, on each kind of event loop."""
    if request.param == "uvloop":
        reason = "uvloop is not installed; to enable: pip install -e '.[test]'"
        uvloop = pytest.importorskip("uvloop", reason=reason)
        runner: Runner = uvloop.run
        return runner
    return asyncio.run


def install(**settings: Any) -> TaskLog:
    settings = {
        "exporter": None, "level": "INFO", "console": False, "uncaught": True,
        **settings,
    }  # fmt: skip
    return otel_tasklog.install(**settings)


@pytest.fixture
def printed(monkeypatch: pytest.MonkeyPatch) -> list[BaseException]:
    """What the hooks that were there before were given."""
    given: list[BaseException] = []
    monkeypatch.setattr(sys, "excepthook", lambda _, error, __: given.append(error))
    monkeypatch.setattr(threading, "excepthook", lambda a: given.append(a.exc_value))
    return given


@pytest.fixture
def elsewhere() -> Iterator[list[logging.LogRecord]]:
    """What another handler of the root logger sees."""

    class Kept(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            records.append(record)

    records: list[logging.LogRecord] = []
    ROOT.addHandler(kept := Kept())
    yield records
    ROOT.removeHandler(kept)


def raised(kind: type[BaseException] = ConnectionError) -> BaseException:
    try:
        raise kind("the bank hung up")  # noqa: TRY301 - to have a traceback
    except BaseException as error:  # noqa: BLE001 - which it is, the test says
        return error


# Of the process


def test_an_uncaught_exception_is_a_critical_record(
    printed: list[BaseException], elsewhere: list[logging.LogRecord]
) -> None:
    error = raised()
    with install() as tasklog:
        sys.excepthook(type(error), error, error.__traceback__)
        [record] = tasklog.query()
    assert (record.severity_text, record.logger) == ("CRITICAL", "uncaught")
    assert record.message == "uncaught exception"
    assert record.exception_type == "ConnectionError"
    assert record.exception_message == "the bank hung up"
    assert 'kind("the bank hung up")' in str(record.exception_stacktrace)
    assert (record.origin.path, record.origin.function) == (__file__, "raised")
    assert printed == [error]
    assert elsewhere == []  # Python prints it already


def test_an_exception_without_a_traceback_is_one_too(
    printed: list[BaseException],
) -> None:
    with install() as tasklog:
        sys.excepthook(ValueError, ValueError("x"), None)
        assert tasklog.query()[0].exception_message == "x"


@pytest.mark.parametrize("daemon", [True, False], ids=str)
def test_a_thread_that_dies_says_so(
    printed: list[BaseException], daemon: object
) -> None:
    def die() -> None:
        raise ConnectionError("the bank hung up")

    with install() as tasklog:
        thread = threading.Thread(target=die, name="charger", daemon=bool(daemon))
        thread.start()
        thread.join()
        [record] = tasklog.query()
    assert record.message == "uncaught exception in the thread 'charger'"
    assert record.severity_text == "CRITICAL"
    assert record.origin.thread_name == "charger"
    assert record.origin.function == "die"
    assert [str(error) for error in printed] == ["the bank hung up"]


def test_what_is_meant_to_end_is_no_record(printed: list[BaseException]) -> None:
    def leave() -> None:
        raise SystemExit

    with install() as tasklog:
        error = raised(KeyboardInterrupt)
        sys.excepthook(type(error), error, None)
        assert printed == [error]
        thread = threading.Thread(target=leave)
        thread.start()
        thread.join()
        assert tasklog.query() == []


def test_the_level_of_the_handler_counts(printed: list[BaseException]) -> None:
    with install() as tasklog:
        tasklog.handler.setLevel(logging.CRITICAL + 1)
        sys.excepthook(ValueError, ValueError("x"), None)
        assert tasklog.query() == []


def test_close_puts_back_what_was_there() -> None:
    before = sys.excepthook, threading.excepthook
    with install():
        assert sys.excepthook is not before[0]
        assert threading.excepthook is not before[1]
    assert (sys.excepthook, threading.excepthook) == before


def test_a_hook_that_wraps_ours_stays_and_ours_goes_quiet(
    printed: list[BaseException],
) -> None:
    tasklog = install()
    ours, ours_of_threads = sys.excepthook, threading.excepthook

    def theirs(*args: Any) -> None:
        ours(*args)

    def theirs_of_threads(args: Any) -> None:
        ours_of_threads(args)

    sys.excepthook, threading.excepthook = theirs, theirs_of_threads
    tasklog.close()
    assert (sys.excepthook, threading.excepthook) == (theirs, theirs_of_threads)
    error = raised()
    sys.excepthook(type(error), error, None)
    threading.excepthook(threading.ExceptHookArgs((type(error), error, None, None)))
    assert printed == [error, error]
    assert tasklog.query() == []


def test_nothing_is_touched_unless_it_is_asked_for() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        before = sys.excepthook, threading.excepthook, loop.get_exception_handler()
        async with install(uncaught=False):
            assert before == (
                sys.excepthook, threading.excepthook, loop.get_exception_handler(),
            )  # fmt: skip

    asyncio.run(main())


# Of event loops


async def charge() -> None:
    raise ConnectionError("the bank hung up")


async def lose_a_task(name: str = "charger", scope: str | None = None) -> None:
    """Start a task that fails, and forget it."""

    async def start() -> None:
        failing = asyncio.create_task(charge(), name=name)
        await asyncio.wait([failing])

    if scope is None:
        await start()
    else:
        async with task(scope):
            await start()


def test_a_task_that_nobody_waited_for_is_one_record_of_its_own(run: Runner) -> None:
    """Found out while another task runs, in a job of its own."""

    async def main() -> tuple[TaskRecord, TaskRecord]:
        async with install() as tasklog:
            async with task("another job"):
                await lose_a_task()
                gc.collect()
                ROOT.info("after")
            return tuple(tasklog.query(newest_first=False))  # type: ignore[return-value]

    lost, after = run(main())
    assert lost.message.startswith("Task exception was never retrieved\nfuture: <Task")
    assert (lost.logger, lost.severity_text) == ("asyncio", "ERROR")
    assert lost.exception_message == "the bank hung up"
    assert lost.asyncio_task_name == "charger"
    assert lost.asyncio_task_number not in {None, after.asyncio_task_number}
    if sys.version_info < (3, 12):
        assert lost.task_id == "charger"
    else:
        assert lost.task_id == "another job"  # which it inherited
    assert (after.message, after.task_id) == ("after", "another job")


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="a task tells its context from Python 3.12 on; to enable: run on it",
)
def test_the_job_and_the_trace_that_a_task_was_started_in_are_its_own(
    run: Runner,
) -> None:
    tracer = TracerProvider().get_tracer("t")

    async def main() -> TaskRecord:
        async with install() as tasklog:
            with tracer.start_as_current_span("order") as span:
                await lose_a_task(scope="order-1")
            async with task("another job"):
                gc.collect()
            [record] = tasklog.query()
            context = span.get_span_context()
            assert record.trace_id == format(context.trace_id, "032x")
            return record

    assert run(main()).task_id == "order-1"


def test_the_record_has_the_number_that_the_tasks_own_records_have() -> None:
    async def speak_and_fail() -> None:
        ROOT.info("speaking")
        await charge()

    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            await asyncio.wait([asyncio.create_task(speak_and_fail())])
            gc.collect()
            return tasklog.query()

    lost, spoken = asyncio.run(main())
    assert lost.asyncio_task_number == spoken.asyncio_task_number is not None


def test_a_callback_that_fails_is_a_record() -> None:
    async def main() -> list[TaskRecord]:
        async with install() as tasklog:
            asyncio.get_running_loop().call_soon(int, "x")
            await asyncio.sleep(0)
            return tasklog.query()

    [record] = asyncio.run(main())
    assert record.message.startswith("Exception in callback")
    assert record.exception_type == "ValueError"
    assert record.task_id is None


def silent(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    pass


def talkative(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    ROOT.error("in a handler of the application", exc_info=context["exception"])


def delegating(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    ROOT.debug("delegating")
    loop.default_exception_handler(context)


def failing(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    if "task" in context or "future" in context:
        raise RuntimeError("of the handler")


@pytest.mark.parametrize(
    ("handler", "messages"),
    [
        (silent, ["Task exception was never retrieved"]),
        (talkative, ["in a handler of the application"]),
        (delegating, ["Task exception was never retrieved"]),
        (failing, ["Unhandled error in exception handler"]),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_a_handler_of_the_application_is_called_and_one_record_comes(
    handler: Callable[[asyncio.AbstractEventLoop, dict[str, Any]], None],
    messages: list[str],
    run: Runner,
) -> None:
    async def main() -> list[TaskRecord]:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(handler)
        async with install() as tasklog:
            await lose_a_task()
            gc.collect()
            records = tasklog.query()
        assert loop.get_exception_handler() is handler
        return records

    records = run(main())
    assert [record.message.splitlines()[0] for record in records] == messages


def test_the_record_comes_where_asyncios_logger_is_not_listened_to() -> None:
    async def main() -> list[TaskRecord]:
        async with install(loggers=["shop"]) as tasklog:
            await lose_a_task()
            gc.collect()
            return tasklog.query()

    [record] = asyncio.run(main())
    assert record.message == "Task exception was never retrieved"
    assert (record.logger, record.severity_text) == ("asyncio", "ERROR")
    assert record.asyncio_task_name == "charger"
    assert record.exception_message == "the bank hung up"


def test_others_see_asyncios_record_as_before(
    elsewhere: list[logging.LogRecord],
) -> None:
    async def main() -> None:
        async with install():
            await lose_a_task()
            gc.collect()

    asyncio.run(main())
    assert [record.name for record in elsewhere] == ["asyncio"]


def test_a_loop_that_install_is_called_in_is_watched_once() -> None:
    async def main() -> None:
        loop = asyncio.get_running_loop()
        tasklog = install()
        ours = loop.get_exception_handler()
        assert ours is not None
        async with tasklog:
            assert loop.get_exception_handler() is ours
        assert loop.get_exception_handler() is None

    asyncio.run(main())


def test_each_loop_is_given_back_to_the_handler_it_had() -> None:
    tasklog = install()
    loops = [asyncio.new_event_loop() for _ in range(3)]

    async def enter(handler: Any) -> None:
        asyncio.get_running_loop().set_exception_handler(handler)
        await tasklog.__aenter__()

    for loop, handler in zip(loops, [None, silent, talkative], strict=True):
        loop.run_until_complete(enter(handler))
    loops[0].close()
    loops[2].set_exception_handler(delegating)
    tasklog.close()
    assert [loop.get_exception_handler() for loop in loops] == [
        None, silent, delegating,
    ]  # fmt: skip
    for loop in loops:
        loop.close()


def test_a_handler_that_wraps_ours_still_reaches_what_was_there() -> None:
    async def main() -> list[str]:
        loop = asyncio.get_running_loop()
        reached: list[str] = []
        loop.set_exception_handler(lambda *_: reached.append("before"))
        tasklog = install()
        ours = loop.get_exception_handler()
        assert ours is not None

        def theirs(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
            ours(loop, context)

        loop.set_exception_handler(theirs)
        tasklog.close()
        await lose_a_task()
        gc.collect()
        assert tasklog.query() == []
        return reached

    assert asyncio.run(main()) == ["before"]


def test_warnings_are_records_where_the_application_captures_them() -> None:
    logging.captureWarnings(capture=True)
    try:
        with install() as tasklog, warnings.catch_warnings():
            warnings.simplefilter("always")
            # As captureWarnings did before catch_warnings put its own in place.
            logging.captureWarnings(capture=False)
            logging.captureWarnings(capture=True)
            warnings.warn("old", DeprecationWarning, stacklevel=1)
            [record] = tasklog.query()
    finally:
        logging.captureWarnings(capture=False)
    assert (record.logger, record.severity_text) == ("py.warnings", "WARNING")
    assert "DeprecationWarning: old" in record.message
