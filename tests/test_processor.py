"""In by way of a LoggerProvider that an application has already."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from logging.handlers import QueueHandler, QueueListener
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, Final

import pytest
from opentelemetry._logs import LogRecord, SeverityNumber
from opentelemetry.context import Context
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import (
    InMemoryLogRecordExporter,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog
from otel_tasklog import Config, TaskLog, TaskLogFilter, TaskLogProcessor, bind, task
from otel_tasklog.testing import Retry
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable

    from conftest import Harness
    from opentelemetry.sdk._logs import ReadWriteLogRecord

    from otel_tasklog import TaskRecord
    from otel_tasklog.delivery._decode import DecodedRecord


NOW_NS: Final = time.time_ns()


def provider_with(*processors: LogRecordProcessor) -> LoggerProvider:
    provider = LoggerProvider(shutdown_on_exit=False)
    for processor in processors:
        provider.add_log_record_processor(processor)
    return provider


def emit(harness: Harness, scope: str = "shop", **fields: Any) -> TaskRecord:
    """Emit a record of the API, and return it as it was kept."""
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    provider.get_logger(scope).emit(LogRecord(**fields))
    return harness.last()


def test_all_that_a_record_says_is_captured(harness: Harness) -> None:
    record = emit(
        harness,
        timestamp=NOW_NS,
        severity_number=SeverityNumber.WARN2,
        severity_text="NOTICE",
        body="100 % of %s",
        event_name="charged",
        attributes={
            "amount": 12.5,
            "items": ["a", "b"],
            "card": {"kind": "debit"},
            "code.file.path": "/shop/charge.py",
            "code.function.name": "charge",
            "code.line.number": 7,
            "code.stacktrace": "Stack",
            "thread.id": 4711,
            "thread.name": "charger",
            "process.pid": 42,
            "exception.type": "shop.CardError",
            "exception.message": "no such card",
            "exception.stacktrace": "Traceback ...",
        },
    )
    assert record.to_dict() == {
        "sequence": record.sequence,
        "timestamp_ns": NOW_NS,
        "logger": "shop",
        "level": 31,
        "severity_number": 14,
        "severity_text": "NOTICE",
        "path": "/shop/charge.py",
        "line": 7,
        "function": "charge",
        "thread_id": 4711,
        "thread_name": "charger",
        "process_id": 42,
        "body": "100 % of %s",
        "attributes": {
            "amount": 12.5,
            "items": ("a", "b"),
            "card": {"kind": "debit"},
            "otel.event.name": "charged",
        },
        "event_name": "charged",
        "exception_type": "shop.CardError",
        "exception_message": "no such card",
        "exception_stacktrace": "Traceback ...",
        "stack_info": "Stack",
    }


def test_an_exception_of_the_api_is_captured(harness: Harness) -> None:
    if "exception" not in inspect.signature(LogRecord.__init__).parameters:
        pytest.skip("records of this version of the API have no exception")
    try:
        raise LookupError("no such card")  # noqa: TRY301
    except LookupError as error:
        record = emit(harness, body="charging failed", exception=error)
    assert record.exception_type == "LookupError"
    assert record.exception_message == "no such card"
    assert 'raise LookupError("no such card")' in str(record.exception_stacktrace)
    assert record.attributes == {}


def test_it_has_the_task_the_scope_and_the_span_that_it_is_emitted_in(
    harness: Harness,
) -> None:
    async def main() -> tuple[TaskRecord, Any]:
        tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
        with tracer.start_as_current_span("work") as span:
            async with task("order-1"), task("payment-1", attributes={"step": 2}):
                bind(region="north")
                return emit(harness, body="charging"), span.get_span_context()

    record, span = asyncio.run(main())
    assert (record.task_id, record.task_parent_id) == ("payment-1", "order-1")
    assert record.asyncio_task_number is not None
    assert record.attributes == {"step": 2, "region": "north"}
    assert record.trace_id == f"{span.trace_id:032x}"
    assert record.span_id == f"{span.span_id:016x}"
    assert record.trace_flags == span.trace_flags


def test_each_record_has_its_own_span(harness: Harness) -> None:
    """Also when many are finished together, as on the worker."""
    logger = provider_with(TaskLogProcessor(harness.tasklog)).get_logger("shop")
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    expected: list[int] = []
    for _ in range(10):
        with tracer.start_as_current_span("work") as span:
            logger.emit(LogRecord(body="text"))
            expected.append(span.get_span_context().span_id)
    assert harness.tasklog.flush()
    sent = [record.record.span_id for record in harness.sender.records]
    assert [int.from_bytes(each, "big") for each in sent] == expected


def test_a_record_without_a_trace_does_not_get_that_of_the_call(
    harness: Harness,
) -> None:
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    early = LogRecord(body="made outside")
    nowhere = Context({"some": "value"})
    with tracer.start_as_current_span("work"):
        provider = provider_with(TaskLogProcessor(harness.tasklog))
        provider.get_logger("shop").emit(early)
        assert harness.last().trace_id is None
        assert emit(harness, context=nowhere).trace_id is None


@pytest.mark.parametrize("severity", SeverityNumber, ids=lambda each: each.name)
def test_each_severity_stays_what_it_is(
    harness: Harness, severity: SeverityNumber
) -> None:
    record = emit(harness, severity_number=severity)
    assert record.severity_number == severity.value
    unspecified = severity is SeverityNumber.UNSPECIFIED
    assert record.severity_text == ("" if unspecified else severity.name)


def test_a_severity_may_be_a_plain_number(harness: Harness) -> None:
    assert emit(harness, severity_number=17).level == logging.ERROR


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("%d", "%d"),
        (None, ""),
        ({"amount": 1}, '{"amount": 1}'),
        (("a", 1), "('a', 1)"),
        (12.5, "12.5"),
        (b"\x00", "b'\\x00'"),
    ],
    ids=repr,
)
def test_any_body_is_a_text_or_a_mapping(
    harness: Harness, body: Any, message: str
) -> None:
    record = emit(harness, body=body)
    assert record.message == message
    assert record.body == (body if isinstance(body, dict) else message)


def test_the_time_is_the_observed_one_if_there_is_no_other(harness: Harness) -> None:
    assert emit(harness, observed_timestamp=NOW_NS).timestamp_ns == NOW_NS


def test_a_time_that_loki_would_refuse_is_not_believed(harness: Harness) -> None:
    record = emit(harness, timestamp=1_700_000_000 * 10**9)
    assert record.timestamp_ns >= NOW_NS
    assert record.attributes == {"otel_tasklog.created": "2023-11-14T22:13:20+00:00"}


def test_a_time_may_be_a_float(harness: Harness) -> None:
    emit(harness, timestamp=float(NOW_NS))
    assert harness.tasklog.flush()
    assert harness.sender.records[0].record.time_unix_nano == int(float(NOW_NS))


def test_attributes_leave_the_fields_of_a_record_alone(harness: Harness) -> None:
    """Those named like a field of logging's records arrive under another name."""
    names = [*logging.makeLogRecord({}).__dict__, "message", "asctime"]
    record = emit(harness, body="text", attributes=dict.fromkeys(names, "other"))
    assert record.message == "text"
    assert record.logger == "shop"
    assert record.attributes == {f"extra.{name}": "other" for name in names}


def test_attributes_of_another_type_than_the_fields_stay_attributes(
    harness: Harness,
) -> None:
    record = emit(harness, attributes={"code.line.number": "seven", "thread.id": True})
    assert record.attributes == {
        "extra.code.line.number": "seven",
        "extra.thread.id": True,
    }
    assert record.origin.thread_id == threading.get_ident()


@pytest.mark.parametrize("key", ["event.name", "otel.event.name"])
def test_an_event_is_named_once(harness: Harness, key: str) -> None:
    record = emit(harness, event_name="charged", attributes={key: "charged"})
    assert record.event_name == "charged"
    assert record.attributes == {key: "charged"}


def test_the_version_of_the_scope_is_kept(harness: Harness) -> None:
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    provider.get_logger("shop.client", "1.2").emit(LogRecord(body="text"))
    record = harness.last()
    assert record.logger == "shop.client"
    assert record.attributes == {"otel.scope.version": "1.2"}


def test_a_task_id_among_the_attributes_names_the_job(harness: Harness) -> None:
    """As one in ``extra`` does."""
    with task("order-1"):
        record = emit(harness, attributes={"task_id": "payment-1"})
    assert (record.task_id, record.task_parent_id) == ("payment-1", "order-1")


def test_a_record_that_nobody_can_read_is_kept(harness: Harness) -> None:
    record = emit(harness, body="text", severity_number=99)
    assert record.logger == "shop"
    assert "text" in record.message
    assert "ValueError" in record.message


class Noting(LogRecordProcessor):
    """Changes a record, as one that redacts would."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        log_record.log_record.body = "changed"

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_what_processors_before_it_changed_is_captured(harness: Harness) -> None:
    processor = TaskLogProcessor(harness.tasklog)
    before, after = (
        provider_with(Noting(), processor),
        provider_with(processor, Noting()),
    )
    before.get_logger("shop").emit(LogRecord(body="text"))
    assert harness.last().message == "changed"
    after.get_logger("shop").emit(LogRecord(body="text"))
    assert harness.last().message == "text"


def test_the_handlers_level_and_filters_apply(harness: Harness) -> None:
    harness.tasklog.handler.setLevel(logging.INFO)
    harness.tasklog.handler.addFilter(lambda record: record.msg != "no")
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    logger = provider.get_logger("shop")
    for severity, body in [(5, "low"), (9, "no"), (9, "yes")]:
        logger.emit(LogRecord(severity_number=SeverityNumber(severity), body=body))
    assert [record.message for record in harness.tasklog.query()] == ["yes"]


def test_it_feeds_the_installed_tasklog() -> None:
    provider = provider_with(TaskLogProcessor())
    with otel_tasklog.install(exporter=None, loggers=[]) as tasklog:
        provider.get_logger("shop").emit(LogRecord(body="first"))
    with otel_tasklog.install(exporter=None, loggers=[]) as second:
        provider.get_logger("shop").emit(LogRecord(body="second"))
    assert [record.message for record in tasklog.query()] == ["first"]
    assert [record.message for record in second.query()] == ["second"]


def test_flush_tells_what_was_delivered(make: Callable[..., Harness]) -> None:
    harness = make([Retry("not now")])
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    logger = provider.get_logger("shop")
    logger.emit(LogRecord(body="text"))
    assert provider.force_flush(20) is False  # the next attempt is in half a second
    assert harness.tasklog.stats().pending == 1
    assert provider.force_flush() is True
    assert [record.body for record in harness.sender.records] == ["text"]


def test_shutdown_delivers_and_leaves_the_tasklog_open(harness: Harness) -> None:
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    provider.get_logger("shop").emit(LogRecord(body="text"))
    provider.shutdown()
    assert [record.body for record in harness.sender.records] == ["text"]
    harness.log.info("still open")
    assert harness.tasklog.flush()
    assert len(harness.sender.records) == 2


def test_without_an_open_tasklog_there_is_nothing_to_flush() -> None:
    nothing = provider_with(TaskLogProcessor())
    tasklog = TaskLog(Config(exporter=None))
    tasklog.close()
    closed = provider_with(TaskLogProcessor(tasklog))
    for provider in (nothing, closed):
        assert provider.force_flush() is True
        provider.shutdown()


def test_a_record_that_another_tasklog_sent_keeps_its_identity(
    harness: Harness,
) -> None:
    first = TaskLog(
        Config(
            logger_provider=provider_with(TaskLogProcessor(harness.tasklog)),
            include=["asyncio", "code", "thread"],
        )
    )
    log = logging.getLogger("test.processor.chain")
    log.handlers[:] = [first.handler]

    async def main() -> None:
        async with task("order-1"), task("payment-1"):
            log.warning("charging")

    asyncio.run(main())
    log.handlers.clear()
    first.close()
    [before], [after] = first.query(), harness.tasklog.query()
    for known in ("timestamp_ns", "origin", "who", "body", "attributes"):
        assert getattr(after, known) == getattr(before, known), known


def official_handler(**settings: Any) -> logging.Handler:
    module = pytest.importorskip(
        "opentelemetry.instrumentation.logging.handler",
        reason="opentelemetry-instrumentation-logging 0.61 or newer is not installed",
    )
    handler: logging.Handler = module.LoggingHandler(**settings)
    return handler


def compare(official: LogRecord, ours: DecodedRecord) -> None:
    """Assert that what an SDK exporter was given is on our wire too."""
    wire = ours.record
    assert official.severity_number is not None
    assert official.attributes is not None
    assert ours.body == official.body
    assert wire.severity_number == official.severity_number.value
    assert wire.severity_text == official.severity_text
    assert wire.time_unix_nano == official.timestamp
    assert wire.event_name == official.event_name
    assert int.from_bytes(wire.trace_id, "big") == official.trace_id
    assert int.from_bytes(wire.span_id, "big") == official.span_id
    assert wire.flags == official.trace_flags
    theirs = dict(official.attributes)
    assert {key: ours.attributes[key] for key in theirs} == theirs


def test_a_set_up_with_the_official_handler_gets_tasks_and_delivery() -> None:
    """Its records arrive at a receiver with all that they had, and the task."""
    received: list[DecodedRecord] = []
    exporter = InMemoryLogRecordExporter()
    log = logging.getLogger("test.processor.official")
    log.setLevel(logging.INFO)
    log.propagate = False
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")

    async def main() -> None:
        with tracer.start_as_current_span("work"):
            async with task("order-1"):
                try:
                    raise ConnectionError("the bank hung up")  # noqa: TRY301
                except ConnectionError:
                    log.exception(
                        "charging %s failed", "order-1",
                        extra={"amount": 12.5, "event.name": "charge"},
                    )  # fmt: skip

    with (
        Receiver(received.extend) as receiver,
        otel_tasklog.install(endpoint=receiver.endpoint, loggers=[]) as tasklog,
    ):
        provider = provider_with(
            SimpleLogRecordProcessor(exporter), TaskLogProcessor(tasklog)
        )
        handler = official_handler(logger_provider=provider, log_code_attributes=True)
        log.addHandler(handler)
        asyncio.run(main())
        log.removeHandler(handler)
        assert provider.force_flush() is True

    [readable], [record] = exporter.get_finished_logs(), received
    compare(readable.log_record, record)
    assert record.scope == "test.processor.official"
    assert record.body == "charging order-1 failed"
    assert record.record.event_name == "charge"
    assert record.attributes["exception.type"] == "ConnectionError"
    assert record.attributes["code.file.path"] == __file__
    assert record.attributes["task_id"] == "order-1"


def test_a_stamp_that_the_official_handler_passes_on_is_believed(
    harness: Harness,
) -> None:
    """Behind a queue the task is known by a TaskLogFilter alone."""
    provider = provider_with(TaskLogProcessor(harness.tasklog))
    records: SimpleQueue[logging.LogRecord] = SimpleQueue()
    queued = QueueHandler(records)
    queued.addFilter(TaskLogFilter())
    harness.log.handlers[:] = [queued]
    listener = QueueListener(records, official_handler(logger_provider=provider))
    tracer = TracerProvider(shutdown_on_exit=False).get_tracer("test")
    with tracer.start_as_current_span("work") as span, task("order-1"):
        harness.log.info("charging")
    listener.start()
    listener.stop()
    record = harness.last()
    assert record.task_id == "order-1"
    assert record.span_id == f"{span.get_span_context().span_id:016x}"
    assert record.attributes == {}


def test_our_own_diagnostics_do_not_come_in_again(make: Callable[..., Harness]) -> None:
    """What the worker says reaches the provider's other exporters alone."""
    harness = make([Retry("the receiver is down")])
    exporter = InMemoryLogRecordExporter()
    provider = provider_with(
        SimpleLogRecordProcessor(exporter), TaskLogProcessor(harness.tasklog)
    )
    said = logging.getLogger("otel_tasklog")
    handler = official_handler(logger_provider=provider)
    said.addHandler(handler)
    try:
        provider.get_logger("shop").emit(LogRecord(body="text"))
        assert provider.force_flush() is True
    finally:
        said.removeHandler(handler)
    bodies = [str(each.log_record.body) for each in exporter.get_finished_logs()]
    assert any("the receiver is down" in body for body in bodies)
    assert [record.message for record in harness.tasklog.query()] == ["text"]
