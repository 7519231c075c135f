"""TaskLogFilter: behind a queue, a record knows what it knew where it was logged."""

from __future__ import annotations

import asyncio
import logging
import logging.config
import logging.handlers
import multiprocessing
import pickle
import queue
import sys
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog
from otel_tasklog import TaskLogFilter, TaskRecord, bind, task
from otel_tasklog.capture._stamp import STAMP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from conftest import Harness


class Queued:
    """A logger, and two TaskLogs that hear it: at once, and from behind a queue."""

    def __init__(self, before: Harness, behind: Harness, passed: Any) -> None:
        self.before = before
        self.behind = behind
        self.queue = passed
        self.log = before.log
        self._listener = logging.handlers.QueueListener(
            passed, behind.tasklog.handler, respect_handler_level=True
        )
        self._handler = logging.handlers.QueueHandler(passed)
        self._handler.addFilter(TaskLogFilter())
        self.log.addHandler(self._handler)
        self._listener.start()

    def last(self) -> tuple[TaskRecord, TaskRecord]:
        """Return the newest record of each, once the queue is empty."""
        self._listener.stop()
        self._listener.start()
        return self.before.last(), self.behind.last()

    def close(self) -> None:
        self._listener.stop()
        self.log.removeHandler(self._handler)


@pytest.fixture(params=["thread", "process"])
def queued(
    make: Callable[..., Harness], request: pytest.FixtureRequest
) -> Iterator[Queued]:
    """Through a queue between threads, and through one between processes."""
    between: multiprocessing.queues.Queue[Any] | None = None
    if request.param == "process":
        between = multiprocessing.Queue()
    made = Queued(make(), make(), between or queue.SimpleQueue[Any]())
    yield made
    made.close()
    if between is not None:
        between.close()
        between.join_thread()


def alike(record: TaskRecord) -> dict[str, Any]:
    """Return all but the body, which the queue's handler makes."""
    return {**record.to_dict(), "body": None}


def test_it_is_as_if_there_were_no_queue(queued: Queued) -> None:
    tracer = TracerProvider().get_tracer("t")

    async def child() -> None:
        async with task("inner", attributes={"step": [1, 2]}):
            bind(user="bob")
            with tracer.start_as_current_span("work"):
                queued.log.info("charged %d", 7, extra={"amount": 12.5})

    async def main() -> None:
        async with task("outer"):
            await asyncio.create_task(child(), name="charger")

    asyncio.run(main())
    before, behind = queued.last()
    assert alike(behind) == alike(before)
    assert behind.message == before.message == "charged 7"
    assert (behind.task_id, behind.task_parent_id) == ("inner", "outer")
    assert behind.asyncio_task_name == "charger"
    assert behind.trace_id is not None
    assert behind.attributes == {"step": (1, 2), "user": "bob", "amount": 12.5}


def test_an_exception_arrives_whole(queued: Queued) -> None:
    try:
        try:
            raise KeyError("first")  # noqa: TRY301 - to be logged
        except KeyError as error:
            raise ConnectionError("the bank hung up") from error
    except ConnectionError:
        queued.log.exception("failed")
    before, behind = queued.last()
    assert alike(behind) == alike(before)
    assert behind.exception_type == "ConnectionError"
    assert behind.exception_message == "the bank hung up"
    assert "KeyError: 'first'" in str(behind.exception_stacktrace)


def test_the_body_is_the_message_without_the_traceback_after_it(
    queued: Queued,
) -> None:
    """Which ``QueueHandler`` appends: it is an attribute already."""
    try:
        raise ConnectionError("the bank hung up")  # noqa: TRY301 - to be logged
    except ConnectionError:
        queued.log.exception("failed")
    before, behind = queued.last()
    assert before.message == "failed"
    assert behind.message == "failed"


def test_a_formatter_of_the_queue_handler_decides_the_body(
    harness: Harness,
) -> None:
    class MessageOnly(logging.Formatter):
        def format(self, record: logging.LogRecord) -> str:
            return record.getMessage()

    queue_handler = logging.handlers.QueueHandler(queue.SimpleQueue())
    queue_handler.setFormatter(MessageOnly())
    queue_handler.addFilter(TaskLogFilter())
    harness.log.handlers[:] = [queue_handler]
    try:
        raise ConnectionError("the bank hung up")  # noqa: TRY301 - to be logged
    except ConnectionError:
        harness.log.exception("failed %d times", 2)
    harness.tasklog.handler.handle(queue_handler.queue.get())
    assert harness.last().message == "failed 2 times"
    assert harness.last().exception_message == "the bank hung up"


def test_outside_of_tasks_scopes_and_spans_nothing_is_known(queued: Queued) -> None:
    queued.log.info("x")
    before, behind = queued.last()
    assert alike(behind) == alike(before)
    assert behind.who == (None, None, None, None, None)
    assert behind.trace_id is None


def test_the_name_of_the_task_is_the_job_where_no_scope_is(queued: Queued) -> None:
    async def main() -> None:
        await asyncio.create_task(child(), name="import-42")

    async def child() -> None:
        queued.log.info("x")

    asyncio.run(main())
    _, behind = queued.last()
    assert behind.task_id == behind.asyncio_task_name == "import-42"


def test_the_stamp_can_be_pickled() -> None:
    record = logging.makeLogRecord({"msg": "x"})
    with task("job", attributes={"deep": {"er": [1]}}):
        assert TaskLogFilter().filter(record)
    stamp = record.__dict__[STAMP]
    assert pickle.loads(pickle.dumps(stamp)) == stamp  # noqa: S301 - our own
    assert stamp.task_id == "job"


def test_the_first_stamp_stays() -> None:
    record = logging.makeLogRecord({"msg": "x"})
    with task("where it was logged"):
        TaskLogFilter().filter(record)
    with task("on the way"):
        TaskLogFilter().filter(record)
    assert record.__dict__[STAMP].task_id == "where it was logged"


def test_an_exception_that_cannot_be_rendered_costs_nothing_else() -> None:
    class OddError(Exception):
        pass

    OddError.__qualname__ = "no\0type"
    record = logging.makeLogRecord({"msg": "x"})
    error = OddError("text")
    record.exc_info = (OddError, error, None)
    with task("job"):
        assert TaskLogFilter().filter(record)
    stamp = record.__dict__[STAMP]
    assert (stamp.task_id, stamp.exception[1]) == ("job", "text")
    assert "type: text" in stamp.exception[2]


def test_what_was_logged_outside_of_any_task_is_not_the_task_s_that_drains_the_queue(
    harness: Harness,
) -> None:
    record = logging.makeLogRecord({"msg": "x"})
    TaskLogFilter().filter(record)

    async def drain() -> None:
        with task("draining"):
            harness.tasklog.handler.handle(record)

    asyncio.run(drain())
    [found] = harness.tasklog.query()
    assert (found.task_id, found.asyncio_task_number) == (None, None)


@pytest.mark.skipif(
    sys.version_info < (3, 12),
    reason="dictConfig makes a QueueListener from Python 3.12 on; to enable: run on it",
)
def test_dictconfig_puts_a_queue_before_the_handler() -> None:
    configuration = {
        "version": 1,
        "disable_existing_loggers": False,
        "filters": {"stamp": {"()": "otel_tasklog.TaskLogFilter"}},
        "handlers": {
            "tasklog": {"class": "otel_tasklog.TaskLogHandler"},
            "queue": {
                "class": "logging.handlers.QueueHandler",
                "handlers": ["tasklog"],
                "filters": ["stamp"],
            },
        },
        "loggers": {"test.queued": {"handlers": ["queue"], "propagate": False}},
    }
    log = logging.getLogger("test.queued")
    with otel_tasklog.install(exporter=None, loggers=[]) as tasklog:
        logging.config.dictConfig(configuration)
        [handler] = log.handlers
        listener: logging.handlers.QueueListener = vars(handler)["listener"]
        listener.start()
        try:
            with task("job"):
                log.warning("by way of the queue")
        finally:
            listener.stop()
            log.handlers.clear()
        [record] = tasklog.query()
    assert (record.message, record.task_id) == ("by way of the queue", "job")
