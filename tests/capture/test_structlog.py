"""Events of structlog, through ``logging`` and without it; their keys: test_events."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry.sdk.trace import TracerProvider
from structlog.stdlib import ProcessorFormatter
from structlog_setups import (
    NAME,
    RENDERED,
    directly,
    each_structured,
    processor_formatter_in_dict_config,
    sink_alone,
    through_logging,
    wrap,
)

import otel_tasklog
from otel_tasklog import MissingExtraError, task
from otel_tasklog.capture.structlog import TaskLogSink, add_task_context

if TYPE_CHECKING:
    from conftest import Harness
    from structlog_setups import Setup

pytestmark = pytest.mark.usefixtures("_same_structlog_afterwards")
tracer = TracerProvider().get_tracer("t")


def refuse() -> None:
    raise ConnectionError("the bank hung up")


@each_structured
def test_a_suggested_configuration_is_delivered_whole(
    root: Harness, configure: Setup
) -> None:
    log = configure(root)
    items = [1]

    async def charge() -> None:
        log.info("charging", amount=12.5, items=items)
        items.append(2)
        try:
            refuse()
        except ConnectionError:
            log.exception("failed", amount=12.5)

    async def main() -> None:
        with task("order-1"), tracer.start_as_current_span("order") as span:
            spans.append(span.get_span_context())
            await asyncio.create_task(charge(), name="charger")

    spans: list[Any] = []
    asyncio.run(main())
    assert root.tasklog.flush()
    charging, failed = root.sender.records
    assert charging.body == "charging"
    assert charging.scope == NAME
    assert charging.record.severity_text == "INFO"
    assert charging.attributes == {
        "amount": 12.5,
        "items": (1,),
        "task_id": "order-1",
        "asyncio.task.name": "charger",
        "asyncio.task.id": charging.attributes["asyncio.task.id"],
        "asyncio.task.parent_id": charging.attributes["asyncio.task.parent_id"],
        "code.file.path": __file__,
        "code.function.name": "charge",
        "code.line.number": charge.__code__.co_firstlineno + 1,
    }
    for record in (charging, failed):
        assert record.record.trace_id == spans[0].trace_id.to_bytes(16, "big")
        assert record.record.span_id == spans[0].span_id.to_bytes(8, "big")
    assert failed.body == "failed"
    assert failed.record.severity_text == "ERROR"
    assert failed.attributes["exception.type"] == "ConnectionError"
    assert failed.attributes["exception.message"] == "the bank hung up"
    stacktrace = str(failed.attributes["exception.stacktrace"])
    assert stacktrace.startswith("Traceback (most recent call last):\n")
    assert stacktrace.rstrip().endswith("ConnectionError: the bank hung up")
    rest = {k for k in failed.attributes if k.partition(".")[0] != "exception"}
    assert rest == charging.attributes.keys() - {"items"}


def test_what_render_to_log_kwargs_says_twice_is_an_attribute(root: Harness) -> None:
    """Nobody can tell who has put it into ``extra``."""
    log = through_logging(
        structlog.stdlib.filter_by_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.StackInfoRenderer(),
        structlog.processors.format_exc_info,
        structlog.processors.UnicodeDecoder(),
        structlog.stdlib.render_to_log_kwargs,
    )
    try:
        refuse()
    except ConnectionError:
        log.exception("charging %s", "bob", amount=1, stack_info=True)
    record = root.last()
    assert record.message == "charging bob"
    assert record.exception_type == "ConnectionError"
    assert record.attributes.keys() == {
        "amount", "logger", "extra.level", "exception", "stack",
    }  # fmt: skip


@pytest.mark.parametrize("configure", RENDERED, ids=lambda f: f.__name__)
def test_what_structlog_has_rendered_arrives_as_its_text(
    root: Harness, configure: Setup
) -> None:
    log = configure(root)
    with task("order-1"):
        log.info("charging %s", "bob", amount=12.5)
    record = root.last()
    assert "charging bob" in record.message
    assert "12.5" in record.message
    assert record.attributes == {}
    assert record.task_id == "order-1"
    assert record.origin.function == (
        "test_what_structlog_has_rendered_arrives_as_its_text"
    )


def test_foreign_records_arrive_as_ever_beside_wrapped_ones(root: Harness) -> None:
    processor_formatter_in_dict_config(root)
    logging.getLogger("foreign").info("as %s", "ever", extra={"amount": 1})
    record = root.last()
    assert (record.message, record.attributes) == ("as ever", {"amount": 1})


@pytest.mark.parametrize("ours_first", [True, False], ids=["first", "last"])
def test_other_handlers_see_a_wrapped_record_as_if_ours_were_not_there(
    root: Harness, *, ours_first: bool
) -> None:
    def output(*handlers: logging.Handler) -> str:
        stream = io.StringIO()
        other = logging.StreamHandler(stream)
        other.setFormatter(
            ProcessorFormatter(
                processors=[
                    ProcessorFormatter.remove_processors_meta,
                    structlog.processors.format_exc_info,
                    structlog.processors.JSONRenderer(sort_keys=True),
                ]
            )
        )
        in_order = [*handlers, other] if ours_first else [other, *handlers]
        logging.getLogger().handlers[:] = in_order
        log = through_logging(structlog.stdlib.add_log_level, wrap)
        log.bind(name="n", task_id="order-1").error(
            "charging %s", "bob", exc_info=ValueError("v"), items=[1]
        )
        return stream.getvalue()

    assert output(root.tasklog.handler) == output()
    assert root.last().attributes == {"extra.name": "n", "items": (1,)}


def test_the_text_of_a_formatter_of_ours_is_the_body_and_the_rest_is_kept(
    root: Harness,
) -> None:
    root.tasklog.handler.setFormatter(
        ProcessorFormatter(
            processors=[
                ProcessorFormatter.remove_processors_meta,
                structlog.processors.KeyValueRenderer(sort_keys=True),
            ]
        )
    )
    through_logging(wrap).bind(task_id="order-1").info("charging", amount=1)
    record = root.last()
    assert record.body == "amount=1 event='charging' task_id='order-1'"
    assert (record.attributes, record.task_id) == ({"amount": 1}, "order-1")


# --- the sink ----------------------------------------------------------------------


def test_the_sink_feeds_the_installed_tasklog() -> None:
    log = directly(TaskLogSink())
    with otel_tasklog.install(exporter=None) as tasklog:
        log.info("first")
        assert [r.message for r in tasklog.query()] == ["first"]
    with otel_tasklog.install(exporter=None) as tasklog:
        log.info("second")
        assert [r.message for r in tasklog.query()] == ["second"]


def test_the_sink_ends_an_event_or_passes_it_on_unchanged(harness: Harness) -> None:
    seen: list[dict[str, Any]] = []

    def see(_: Any, __: str, event: Any) -> Any:
        seen.append(dict(event))
        raise structlog.DropEvent

    directly(TaskLogSink(harness.tasklog.handler), see).info("ends", amount=1)
    assert seen == []
    error = ValueError("v")
    sink = TaskLogSink(harness.tasklog.handler, pass_on=True)
    event = {"amount": [1], "level": "info", "exc_info": error, "task_id": "order-1"}
    directly(sink, see).info("goes on", **event)
    assert seen == [{**event, "event": "goes on"}]
    assert len(harness.tasklog.query()) == 2


METHODS = {
    "debug": "DEBUG", "info": "INFO", "msg": "INFO", "warn": "WARNING",
    "warning": "WARNING", "err": "ERROR", "error": "ERROR", "exception": "ERROR",
    "critical": "CRITICAL", "fatal": "CRITICAL", "trace": "TRACE", "unheard_of": "INFO",
}  # fmt: skip


@pytest.mark.parametrize("method", METHODS)
def test_the_method_is_the_level(
    harness: Harness, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging, "_levelToName", logging._levelToName.copy())
    monkeypatch.setattr(logging, "_nameToLevel", logging._nameToLevel.copy())
    logging.addLevelName(5, "TRACE")
    sink = TaskLogSink(harness.tasklog.handler)
    log = structlog.wrap_logger(
        object(), processors=[sink], wrapper_class=structlog.BoundLogger
    )
    getattr(log, method)("said")
    assert harness.last().severity_text == METHODS[method]
    assert harness.last().level == logging.getLevelNamesMapping()[METHODS[method]]


def test_structlogs_level_and_then_the_handlers_apply(harness: Harness) -> None:
    handler = harness.tasklog.handler
    handler.setLevel(logging.ERROR)
    handler.addFilter(lambda r: "secret" not in r.getMessage())
    log = directly(TaskLogSink(handler), level=logging.CRITICAL)
    log.error("below structlog's")
    log = directly(TaskLogSink(handler), level=logging.DEBUG)
    log.warning("below the handler's")
    log.error("a secret")
    log.error("seen")
    assert [r.message for r in harness.tasklog.query()] == ["seen"]


def test_the_logger_is_the_events_or_the_calling_module(harness: Harness) -> None:
    log = directly(TaskLogSink(harness.tasklog.handler))
    log.info("by module")
    log.info("by key", logger="shop")
    log.info("by no text", logger=3)
    number, key, module = harness.tasklog.query()
    # Before structlog 26.1 it is the last part of the module's name.
    assert __name__.endswith(module.logger)
    assert (key.logger, number.logger) == ("shop", module.logger)
    assert number.attributes == {"logger": 3}


def test_the_logger_may_be_the_wrapped_one(harness: Harness) -> None:
    through_logging(TaskLogSink(harness.tasklog.handler)).info("by name")
    assert harness.last().logger == NAME


def test_a_record_factory_of_the_application_makes_the_sinks_records(
    harness: Harness,
) -> None:
    before = logging.getLogRecordFactory()

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = before(*args, **kwargs)
        record.region = "north"
        return record

    log = directly(TaskLogSink(harness.tasklog.handler))
    logging.setLogRecordFactory(factory)
    try:
        log.info("charging", amount=1)
    finally:
        logging.setLogRecordFactory(before)
    assert harness.last().attributes == {"region": "north", "amount": 1}


# --- asynchronous methods ---------------------------------------------------------


def async_bound(_: Harness) -> Any:
    return through_logging(wrap, wrapper=structlog.stdlib.AsyncBoundLogger)


@pytest.mark.parametrize(
    "configure", [processor_formatter_in_dict_config, sink_alone, async_bound],
    ids=lambda f: f.__name__,
)  # fmt: skip
def test_an_asynchronous_method_keeps_job_trace_place_and_exception(
    root: Harness, configure: Setup
) -> None:
    async def charge() -> None:
        log = configure(root)
        prefix = "" if configure is async_bound else "a"
        with task("order-1"), tracer.start_as_current_span("order") as span:
            await getattr(log, f"{prefix}info")("charging", amount=1, stack_info=True)
            try:
                refuse()
            except ConnectionError:
                await getattr(log, f"{prefix}exception")("failed")
            spans.append(span.get_span_context().trace_id)

    spans: list[int] = []
    asyncio.run(charge())
    failed, charging = root.tasklog.query()
    for record in (failed, charging):
        assert record.task_id == "order-1"
        assert record.trace_id == f"{spans[0]:032x}"
        assert record.origin.function == "charge"
    assert charging.attributes == {"amount": 1}
    assert "stack_info=True)" in str(charging.stack_info)
    assert failed.exception_type == "ConnectionError"


def test_an_asynchronous_method_runs_outside_of_the_task(root: Harness) -> None:
    log = sink_alone(root)

    async def main() -> None:
        log.info("in the task")
        await log.ainfo("in a thread")
        await log.ainfo("in a thread, bound", task_id="order-1")

    asyncio.run(main())
    bound, thread, inside = root.tasklog.query()
    assert inside.asyncio_task_name == inside.task_id
    assert inside.asyncio_task_number is not None
    assert (thread.asyncio_task_number, thread.task_id) == (None, None)
    assert bound.task_id == "order-1"


# --- for the chain's own output ------------------------------------------------------


def test_add_task_context_adds_what_there_is(root: Harness) -> None:
    seen: list[dict[str, Any]] = []

    def see(_: Any, __: str, event: Any) -> Any:
        seen.append(dict(event))
        raise structlog.DropEvent

    log = directly(add_task_context, see)
    log.info("nothing")
    with task("order-1"), tracer.start_as_current_span("order") as span:
        log.info("all")
        log.info("own", task_id="mine", span_id=None)
    context = span.get_span_context()
    ids = {
        "trace_id": f"{context.trace_id:032x}", "span_id": f"{context.span_id:016x}"
    }  # fmt: skip
    assert seen == [
        {"event": "nothing"},
        {"event": "all", "task_id": "order-1", **ids},
        {"event": "own", **ids, "task_id": "mine", "span_id": None},
    ]


def test_add_task_context_serves_foreign_records_too() -> None:
    formatter = ProcessorFormatter(
        foreign_pre_chain=[add_task_context],
        processors=[
            ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )
    with task("order-1"):
        text = formatter.format(logging.makeLogRecord({"msg": "foreign"}))
    assert json.loads(text) == {"event": "foreign", "task_id": "order-1"}


# --- without structlog -------------------------------------------------------------


def test_only_the_sink_needs_structlog() -> None:
    code = """if True:
        import logging, sys
        sys.modules["structlog"] = None
        import otel_tasklog
        from otel_tasklog.capture.structlog import TaskLogSink, add_task_context
        with otel_tasklog.task("order-1"):
            print(add_task_context(None, "info", {}))
        with otel_tasklog.install(exporter=None, level="INFO") as tasklog:
            logging.getLogger("shop").info({"event": "as ever"})
            print(tasklog.query()[0].body)
        try:
            TaskLogSink()
        except otel_tasklog.MissingExtraError as error:
            print(error)
    """
    printed = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        capture_output=True, text=True, check=True,
    ).stdout.splitlines()  # fmt: skip
    assert printed == [
        "{'task_id': 'order-1'}",
        "{'event': 'as ever'}",
        str(MissingExtraError("TaskLogSink", "structlog")),
    ]
