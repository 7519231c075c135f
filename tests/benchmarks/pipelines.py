"""What is compared: each a way for records to go, with a logger of its own.

Ours runs as `install` sets it up, every default feature on: stamps, task
identity, scopes, trace context, sizes, the ring, redaction, its worker, and
delivery to a sink in another process. The official handler and batch processor
have a queue as long as ours, so that nobody drops, and are else at their defaults.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import logging.handlers
import queue
import threading
from typing import TYPE_CHECKING, Any, Final

import asyncz_logs
import structlog
from opentelemetry.exporter.otlp.proto.grpc import _log_exporter as grpc_exporter
from opentelemetry.exporter.otlp.proto.http import _log_exporter as http_exporter
from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)
from peers import (
    ASYNCZ,
    OFFICIAL_GRPC,
    OFFICIAL_HTTP,
    OFFICIAL_NULL,
    QUEUE,
    QUEUE_OFFICIAL,
    STRUCTLOG,
)

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord
    from sink import Sink

__all__ = [
    "FLOOR",
    "OURS",
    "OURS_512",
    "OURS_GRPC",
    "Pipeline",
    "logger_of",
    "open_pipeline",
]

FLOOR: Final = "floor"
OURS: Final = "ours"
OURS_512: Final = "ours, requests of 512"
OURS_GRPC: Final = "ours, gRPC"
QUEUE_RECORDS: Final = 65_536
"""Our default."""


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """One way for records to go.

    Attributes:
        log: Logs into it, and nowhere else.
        settle: Returns when everything that was logged is dealt with.
        pending: Returns how many records are not.
    """

    log: logging.Logger
    settle: Callable[[], object] = lambda: None
    pending: Callable[[], int] = lambda: 0


Opened = contextlib.AbstractContextManager[Pipeline]


class _Floor(logging.Handler):
    """The least that a handler can cost."""

    def handle(self, record: logging.LogRecord) -> bool:
        return True


class _NullHandler(logging.Handler):
    """What the listener of a queue hands its records to, if nothing comes after."""

    def emit(self, record: logging.LogRecord) -> None:
        pass


class _NullExporter(LogRecordExporter):
    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


class _Listener(logging.handlers.QueueListener):
    """Sets an event that comes out of the queue."""

    def handle(self, record: Any) -> None:
        if isinstance(record, threading.Event):
            record.set()
        else:
            super().handle(record)


def logger_of(name: str, handler: logging.Handler) -> logging.Logger:
    """Return a logger that logs into one handler, and nowhere else."""
    log = logging.getLogger(f"benchmark.{name}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [handler]
    return log


@contextlib.contextmanager
def _floor() -> Generator[Pipeline]:
    yield Pipeline(logger_of("floor", _Floor()))


@contextlib.contextmanager
def _ours(**settings: Any) -> Generator[Pipeline]:
    tasklog = TaskLog(Config(service_name="benchmark", **settings))

    def settle() -> None:
        assert tasklog.flush(60.0)

    def pending() -> int:
        outbox = tasklog._outbox
        return len(tasklog._intake.waiting) + (outbox.records if outbox else 0)

    try:
        yield Pipeline(logger_of("ours", tasklog.handler), settle, pending)
    finally:
        tasklog.close()


@contextlib.contextmanager
def _official(name: str, exporter: LogRecordExporter) -> Generator[Pipeline]:
    provider = LoggerProvider()
    processor = BatchLogRecordProcessor(exporter, max_queue_size=QUEUE_RECORDS)
    provider.add_log_record_processor(processor)
    log = logger_of(name, LoggingHandler(logger_provider=provider))
    waiting = processor._batch_processor._queue
    try:
        yield Pipeline(log, lambda: provider.force_flush(60_000), lambda: len(waiting))
    finally:
        log.handlers.clear()  # logging would flush it at exit, which starts a thread
        provider.shutdown()


@contextlib.contextmanager
def _queued(
    name: str,
    behind: logging.Handler,
    after: Pipeline | None = None,
    formatter: logging.Formatter | None = None,
) -> Generator[Pipeline]:
    """Yield a ``QueueHandler`` on a ``SimpleQueue``, with a listener."""
    passage: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = _Listener(passage, behind)
    listener.start()
    handler = logging.handlers.QueueHandler(passage)
    handler.setFormatter(formatter)

    def settle() -> None:
        reached = threading.Event()
        passage.put(reached)
        assert reached.wait(60.0)
        if after is not None:
            after.settle()

    def pending() -> int:
        return passage.qsize() + (after.pending() if after else 0)

    try:
        yield Pipeline(logger_of(name, handler), settle, pending)
    finally:
        listener.stop()


@contextlib.contextmanager
def _queued_official(exporter: LogRecordExporter) -> Generator[Pipeline]:
    with (
        _official("behind", exporter) as official,
        _queued("queue-official", official.log.handlers[0], official) as line,
    ):
        yield line


def _structlog_formatter() -> logging.Formatter:
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.stdlib.ExtraAdder(),
            structlog.processors.TimeStamper(fmt="iso"),
            structlog.processors.format_exc_info,
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.JSONRenderer(),
        ],
    )


@contextlib.contextmanager
def _asyncz() -> Generator[Pipeline]:
    storage_type, handler_type = asyncz_logs.load()
    handler = handler_type(storage_type(maxlen=Config().ring_records))
    yield Pipeline(logger_of("asyncz", handler))


def open_pipeline(name: str, sink: Sink) -> Opened:
    """Return the pipeline of a name, to be entered; what delivers does so to *sink*."""
    openers: dict[str, Callable[[], Opened]] = {
        FLOOR: _floor,
        OURS: lambda: _ours(endpoint=sink.http),
        OURS_512: lambda: _ours(endpoint=sink.http, batch_records=512),
        OURS_GRPC: lambda: _ours(protocol="grpc", endpoint=sink.grpc),
        OFFICIAL_HTTP: lambda: _official(
            "official-http", http_exporter.OTLPLogExporter(endpoint=sink.http)
        ),
        OFFICIAL_GRPC: lambda: _official(
            "official-grpc",
            grpc_exporter.OTLPLogExporter(endpoint=sink.grpc, insecure=True),
        ),
        OFFICIAL_NULL: lambda: _official("official-null", _NullExporter()),
        QUEUE: lambda: _queued("queue", _NullHandler()),
        QUEUE_OFFICIAL: lambda: _queued_official(
            http_exporter.OTLPLogExporter(endpoint=sink.http)
        ),
        STRUCTLOG: lambda: _queued(
            "structlog", _NullHandler(), formatter=_structlog_formatter()
        ),
        ASYNCZ: _asyncz,
    }
    return openers[name]()
