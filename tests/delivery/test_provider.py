"""Out through the LoggerProvider that an application has already."""

from __future__ import annotations

import asyncio
import contextvars
import logging
import subprocess
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry._logs import LogRecord, NoOpLoggerProvider
from opentelemetry.sdk._logs import LoggerProvider, LogRecordProcessor
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    InMemoryLogRecordExporter,
    LogRecordExportResult,
    SimpleLogRecordProcessor,
)
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import get_current_span

import otel_tasklog
from otel_tasklog import (
    Config,
    ConfigError,
    TaskLog,
    TaskLogHandler,
    TaskLogProcessor,
    task,
)
from otel_tasklog.viewer import Receiver

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord, ReadWriteLogRecord

    from otel_tasklog.delivery._decode import DecodedRecord


OFFICIAL = "opentelemetry.exporter.otlp.proto.http._log_exporter"


class Bridged:
    """A TaskLog that sends through a provider, and what that provider exported."""

    def __init__(self, provider: LoggerProvider, **settings: Any) -> None:
        self.exporter = InMemoryLogRecordExporter()
        self.provider = provider
        self.provider.add_log_record_processor(SimpleLogRecordProcessor(self.exporter))
        self.tasklog = TaskLog(Config(logger_provider=provider, **settings))
        self.log = logging.getLogger("test.provider")
        self.log.propagate = False
        self.log.setLevel(1)
        self.log.handlers[:] = [self.tasklog.handler]

    def exported(self) -> list[ReadableLogRecord]:
        """Return what was exported, after all was delivered."""
        assert self.tasklog.flush()
        return list(self.exporter.get_finished_logs())

    def only(self) -> LogRecord:
        [readable] = self.exported()
        return readable.log_record

    def close(self) -> None:
        self.log.handlers.clear()
        self.tasklog.close(1.0)
        self.provider.shutdown()


@pytest.fixture
def bridge() -> Iterator[Callable[..., Bridged]]:
    """Make a TaskLog that sends through a provider."""
    made: list[Bridged] = []

    def factory(provider: LoggerProvider | None = None, **settings: Any) -> Bridged:
        if provider is None:
            provider = LoggerProvider(shutdown_on_exit=False)
        made.append(Bridged(provider, **settings))
        return made[-1]

    yield factory
    for each in made:
        each.close()


def test_all_that_is_known_of_a_record_arrives(
    bridge: Callable[..., Bridged],
) -> None:
    bridged = bridge(
        LoggerProvider(Resource({"service.name": "shop"}), shutdown_on_exit=False),
        include=["asyncio", "code", "thread", "process"],
    )

    async def main() -> None:
        async with task("order-1"), task("payment-1", attributes={"step": 2}):
            try:
                raise ValueError("no such card")  # noqa: TRY301 - to be logged
            except ValueError:
                bridged.log.exception(
                    "charging %s", "card", stack_info=True,
                    extra={"event.name": "charge", "items": [1, 2]},
                )  # fmt: skip

    asyncio.run(main())
    [kept] = bridged.tasklog.query()
    [readable] = bridged.exported()
    record = readable.log_record
    assert readable.resource.attributes["service.name"] == "shop"
    assert readable.instrumentation_scope is not None
    assert readable.instrumentation_scope.name == "test.provider"
    assert record.body == "charging card"
    assert record.event_name == "charge"
    assert record.timestamp == record.observed_timestamp == kept.timestamp_ns
    assert record.severity_text == "ERROR"
    assert record.severity_number is not None
    assert record.severity_number.value == kept.severity_number == 17
    assert record.attributes is not None
    assert dict(record.attributes) == {
        "event.name": "charge",
        "items": (1, 2),
        "step": 2,
        "task_id": "payment-1",
        "task_parent_id": "order-1",
        "asyncio.task.id": kept.asyncio_task_number,
        "asyncio.task.name": kept.asyncio_task_name,
        "code.file.path": __file__,
        "code.function.name": kept.origin.function,
        "code.line.number": kept.origin.line,
        "code.stacktrace": kept.stack_info,
        "thread.id": kept.origin.thread_id,
        "thread.name": kept.origin.thread_name,
        "process.pid": kept.origin.process_id,
        "exception.type": "ValueError",
        "exception.message": "no such card",
        "exception.stacktrace": kept.exception_stacktrace,
    }


def test_a_mapping_arrives_as_one(bridge: Callable[..., Bridged]) -> None:
    bridged = bridge()
    bridged.log.info({"amount": 12.5, "items": ["a", None]})
    assert bridged.only().body == {"amount": 12.5, "items": ("a", None)}


class Spans(LogRecordProcessor):
    """Keeps the span that is current, as a processor that samples by it would."""

    def __init__(self) -> None:
        self.seen: list[int] = []

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        self.seen.append(get_current_span().get_span_context().span_id)

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return True


def test_the_span_of_a_record_is_current_while_it_is_emitted(
    bridge: Callable[..., Bridged],
) -> None:
    bridged = bridge()
    spans = Spans()
    bridged.provider.add_log_record_processor(spans)
    with (
        TracerProvider(shutdown_on_exit=False)
        .get_tracer("")
        .start_as_current_span("work") as span
    ):
        bridged.log.info("inside")
    bridged.log.info("outside")
    inside, outside = (each.log_record for each in bridged.exported())
    known = span.get_span_context()
    assert (inside.trace_id, inside.span_id) == (known.trace_id, known.span_id)
    assert inside.trace_flags == known.trace_flags
    assert not outside.trace_id
    assert spans.seen == [known.span_id, 0]


class Picky(Spans):
    """Raises for some records."""

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        if log_record.log_record.body == "bad":
            raise RuntimeError("what is this")


def test_a_processor_that_raises_costs_that_record_alone(
    bridge: Callable[..., Bridged],
) -> None:
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(Picky())  # before the one that exports
    bridged = bridge(provider)
    for text in ("first", "bad", "last"):
        bridged.log.info(text)
    assert [each.log_record.body for each in bridged.exported()] == ["first", "last"]
    stats = bridged.tasklog.stats()
    assert (stats.accepted, stats.delivered, stats.rejected) == (3, 2, 1)
    assert "RuntimeError('what is this')" in str(stats.last_error)


def test_the_provider_is_the_applications(bridge: Callable[..., Bridged]) -> None:
    """It is not shut down when the TaskLog is closed."""
    bridged = bridge()
    bridged.log.info("through us")
    bridged.tasklog.close()
    bridged.provider.get_logger("its own").emit(LogRecord(body="by itself"))
    bodies = [x.log_record.body for x in bridged.exporter.get_finished_logs()]
    assert bodies == ["through us", "by itself"]


@pytest.mark.parametrize(
    ("keywords", "code"),
    [
        ({}, True),
        ({"log_code_attributes": True}, True),
        ({"log_code_attributes": False}, False),
    ],
    ids=["not given", "True", "False"],
)
def test_a_handler_takes_the_keywords_of_the_official_one(
    *, keywords: dict[str, bool], code: bool
) -> None:
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    given: Any = {"level": logging.INFO, "logger_provider": provider, **keywords}
    log = logging.getLogger("test.provider.keywords")
    log.propagate = False
    log.handlers[:] = [TaskLogHandler(**given)]
    log.warning("charging")
    assert otel_tasklog.current().flush()
    [readable] = exporter.get_finished_logs()
    attributes = readable.log_record.attributes or {}
    assert ("code.line.number" in attributes) is code
    provider.shutdown()


def test_a_provider_that_discards_says_so(bridge: Callable[..., Bridged]) -> None:
    tasklog = TaskLog(Config(logger_provider=NoOpLoggerProvider()))
    log = logging.getLogger("test.provider.noop")
    log.handlers[:] = [tasklog.handler]
    log.warning("into nothing")
    assert tasklog.flush()
    assert tasklog.stats().rejected_by == {"no-op provider": 1}
    log.handlers.clear()
    tasklog.close()


def run(code: str, *arguments: str) -> str:
    """Run a program, and return what it prints."""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code, *arguments],
        capture_output=True, text=True, check=False, timeout=30,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.e2e
def test_records_wait_for_the_global_provider() -> None:
    """Before it is set, the API hands out a stand-in, which would discard them."""
    printed = run(
        """if True:
        import logging, otel_tasklog
        from opentelemetry._logs import get_logger_provider, set_logger_provider
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import (
            InMemoryLogRecordExporter, SimpleLogRecordProcessor
        )

        tasklog = otel_tasklog.install(
            logger_provider=get_logger_provider(), level="INFO", console=False
        )
        logging.getLogger("shop").info("early")
        assert not tasklog.flush(0.1)
        assert "set_logger_provider()" in tasklog.stats().last_error
        exporter = InMemoryLogRecordExporter()
        provider = LoggerProvider()
        provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
        set_logger_provider(provider)
        assert tasklog.flush()
        print([x.log_record.body for x in exporter.get_finished_logs()])
        """
    )
    assert "'early'" in printed


@pytest.mark.e2e
def test_at_the_programs_end_the_provider_gets_everything() -> None:
    """And sends it, for it was made first and so is shut down last."""
    pytest.importorskip(OFFICIAL, reason="the extra otlp is not installed")
    received: list[DecodedRecord] = []
    with Receiver(received.extend) as receiver:
        run(
            """if True:
        import logging, sys, otel_tasklog
        from opentelemetry.exporter.otlp.proto.http._log_exporter import (
            OTLPLogExporter
        )
        from opentelemetry.sdk._logs import LoggerProvider
        from opentelemetry.sdk._logs.export import BatchLogRecordProcessor

        provider = LoggerProvider()
        exporter = OTLPLogExporter(endpoint=sys.argv[1])
        provider.add_log_record_processor(BatchLogRecordProcessor(exporter))
        otel_tasklog.install(logger_provider=provider, level="INFO")
        logging.getLogger("shop").info("last words")
            """,
            receiver.endpoint,
        )
    assert [record.body for record in received] == ["last words"]


PROVIDER = LoggerProvider(shutdown_on_exit=False)


@pytest.mark.parametrize(
    ("settings", "setting"),
    [
        ({"logger_provider": object()}, "logger_provider"),
        ({"logger_provider": "global"}, "logger_provider"),
        (
            {
                "logger_provider": PROVIDER,
                "exporter": InMemoryLogRecordExporter(),
            },
            "exporter",
        ),
        ({"logger_provider": PROVIDER, "service_name": "shop"}, "service_name"),
        (
            {"logger_provider": PROVIDER, "resource_attributes": {"a": 1}},
            "resource_attributes",
        ),
    ],
    ids=["no provider", "a name", "two ways", "a service", "a resource"],
)
def test_what_cannot_go_through_a_provider_fails_at_once(
    settings: dict[str, Any], setting: str
) -> None:
    with pytest.raises(ConfigError) as caught:
        otel_tasklog.install(**settings)
    assert caught.value.setting == setting


def test_the_protocol_of_others_is_no_concern(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is the provider's exporter that reads it."""
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json")
    otel_tasklog.install(logger_provider=PROVIDER).close()


def test_a_handler_of_a_configuration_takes_a_provider() -> None:
    """As OpenTelemetry's own LoggingHandler does, in whose place it can stand."""
    exporter = InMemoryLogRecordExporter()
    provider = LoggerProvider(shutdown_on_exit=False)
    provider.add_log_record_processor(SimpleLogRecordProcessor(exporter))
    log = logging.getLogger("test.provider.handler")
    handler = TaskLogHandler(level=logging.INFO, logger_provider=provider)
    log.addHandler(handler)
    log.warning("through the provider")
    log.removeHandler(handler)
    assert otel_tasklog.current().flush()
    [readable] = exporter.get_finished_logs()
    assert readable.log_record.body == "through the provider"


def multiplexers() -> list[str]:
    """Return how the installed SDK can run its processors."""
    from opentelemetry.sdk import _logs

    both = ("SynchronousMultiLogRecordProcessor", "ConcurrentMultiLogRecordProcessor")
    return [name for name in both if hasattr(_logs, name)] or ["default"]


@pytest.mark.parametrize("multiplexer", multiplexers())
def test_records_that_went_out_through_a_provider_do_not_come_in_again(
    bridge: Callable[..., Bridged], multiplexer: str
) -> None:
    """A TaskLog both behind a provider and in front of it is no endless loop."""
    from opentelemetry.sdk import _logs

    given: dict[str, Any] = {}
    if multiplexer != "default":
        given["multi_log_record_processor"] = getattr(_logs, multiplexer)()
    provider = LoggerProvider(shutdown_on_exit=False, **given)
    bridged = bridge(provider, include=["thread"])
    batched = InMemoryLogRecordExporter()
    batch = BatchLogRecordProcessor(batched, schedule_delay_millis=10)
    provider.add_log_record_processor(TaskLogProcessor(bridged.tasklog))
    provider.add_log_record_processor(batch)
    for number in range(3):
        bridged.log.info("number %d", number)
    expected = ["number 0", "number 1", "number 2"]
    for _ in range(3):  # each round would let what came in again go out again
        assert [each.log_record.body for each in bridged.exported()] == expected
    assert batch.force_flush()
    assert [x.log_record.body for x in batched.get_finished_logs()] == expected
    kept = bridged.tasklog.query(newest_first=False)
    assert [record.message for record in kept] == expected


def test_it_arrives_by_way_of_the_official_exporter(
    bridge: Callable[..., Bridged],
) -> None:
    official = pytest.importorskip(OFFICIAL, reason="the extra otlp is not installed")
    received: list[DecodedRecord] = []
    with Receiver(received.extend) as receiver:
        bridged = bridge()
        batch = BatchLogRecordProcessor(
            official.OTLPLogExporter(endpoint=receiver.endpoint)
        )
        bridged.provider.add_log_record_processor(batch)
        with task("order-1"):
            bridged.log.info("charging", extra={"amount": 12.5})
        assert bridged.tasklog.flush()
        assert bridged.provider.force_flush()
    [record] = received
    assert (record.scope, record.body) == ("test.provider", "charging")
    assert record.attributes["task_id"] == "order-1"
    assert record.attributes["amount"] == 12.5


def test_what_an_exporter_says_while_it_exports_does_not_go_back_to_it(
    bridge: Callable[..., Bridged],
) -> None:
    """Or each request's line in the log would be the next request, for ever."""

    class Chatty(InMemoryLogRecordExporter):
        def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
            # The SDK's processors export with instrumentation suppressed. Another
            # thread, as an HTTP client may have one, has a copy of the context.
            context = contextvars.copy_context()
            client = threading.Thread(target=context.run, args=(chat,))
            client.start()
            client.join()
            return super().export(batch)

    def chat() -> None:
        bridged.log.debug("POST /v1/logs 200")

    bridged = bridge()
    chatty = Chatty()  # type: ignore[no-untyped-call]
    bridged.provider.add_log_record_processor(SimpleLogRecordProcessor(chatty))
    bridged.log.info("charging")
    for _ in range(3):  # would be one more request each
        assert bridged.tasklog.flush()
    assert [each.log_record.body for each in chatty.get_finished_logs()] == ["charging"]
    stats = bridged.tasklog.stats()
    assert stats.rejected_by == {"logged while exporting": 1}
    assert (stats.accepted, stats.delivered) == (2, 1)
    assert bridged.tasklog.query(text="POST")
