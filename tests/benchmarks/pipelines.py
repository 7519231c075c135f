"""What is compared: each with a logger of its own, all in the same process.

Ours runs as `install` sets it up, every default feature on: stamps, task
identity, scopes, trace context, sizes, the ring, redaction, its worker, and
delivery over HTTP to a sink in another process. Of the official path only the
caller's side is measured where it is given an exporter that does nothing.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import logging.handlers
import queue
import time
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.logging.handler import LoggingHandler
from opentelemetry.sdk._logs import LoggerProvider
from opentelemetry.sdk._logs.export import (
    BatchLogRecordProcessor,
    LogRecordExporter,
    LogRecordExportResult,
)

from otel_tasklog import Config, TaskLog

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from opentelemetry.sdk._logs import ReadableLogRecord

__all__ = ["QUEUE_RECORDS", "Pipeline", "floor", "official", "ours", "queue_handler"]

QUEUE_RECORDS = 65_536
"""Our default. The peers get as much, so that nobody drops."""


@dataclasses.dataclass(frozen=True)
class Pipeline:
    """One way for records to go.

    Attributes:
        log: Logs into it, and nowhere else.
        settle: Returns when everything that was logged is dealt with.
        pending: Returns how many records are not.
    """

    log: logging.Logger
    settle: Callable[[], object]
    pending: Callable[[], int]


class _Floor(logging.Handler):
    """The least that a handler can cost."""

    def handle(self, record: logging.LogRecord) -> bool:
        return True


class _NullHandler(logging.Handler):
    """What the listener of a queue hands its records to."""

    def emit(self, record: logging.LogRecord) -> None:
        pass


class _NullExporter(LogRecordExporter):
    def export(self, batch: Sequence[ReadableLogRecord]) -> LogRecordExportResult:
        return LogRecordExportResult.SUCCESS

    def shutdown(self) -> None:
        pass

    def force_flush(self, timeout_millis: int = 0) -> bool:
        return True


def _logger(name: str, handler: logging.Handler) -> logging.Logger:
    log = logging.getLogger(f"benchmark.{name}")
    log.propagate = False
    log.setLevel(logging.INFO)
    log.handlers[:] = [handler]
    return log


@contextlib.contextmanager
def floor() -> Iterator[Pipeline]:
    """Yield a handler whose ``handle`` does nothing: "F0"."""
    yield Pipeline(_logger("floor", _Floor()), lambda: None, lambda: 0)


@contextlib.contextmanager
def ours(endpoint: str, **settings: Any) -> Iterator[Pipeline]:
    """Yield ours with its defaults, delivering to *endpoint*."""
    tasklog = TaskLog(Config(endpoint=endpoint, service_name="benchmark", **settings))

    def settle() -> None:
        assert tasklog.flush(60.0)

    def pending() -> int:
        outbox = tasklog._outbox
        return len(tasklog._intake.waiting) + (outbox.records if outbox else 0)

    try:
        yield Pipeline(_logger("ours", tasklog.handler), settle, pending)
    finally:
        tasklog.close()


@contextlib.contextmanager
def official(exporter: LogRecordExporter | None = None) -> Iterator[Pipeline]:
    """Yield the official handler and batch processor; the default exports nothing."""
    provider = LoggerProvider()
    processor = BatchLogRecordProcessor(
        exporter or _NullExporter(), max_queue_size=QUEUE_RECORDS
    )
    provider.add_log_record_processor(processor)
    handler = LoggingHandler(logger_provider=provider)
    waiting = processor._batch_processor._queue
    try:
        yield Pipeline(
            _logger("official", handler),
            lambda: provider.force_flush(60_000),
            lambda: len(waiting),
        )
    finally:
        provider.shutdown()


@contextlib.contextmanager
def queue_handler() -> Iterator[Pipeline]:
    """Yield the standard library's ``QueueHandler`` on a ``SimpleQueue``."""
    passage: queue.SimpleQueue[Any] = queue.SimpleQueue()
    listener = logging.handlers.QueueListener(passage, _NullHandler())
    listener.start()

    def settle() -> None:
        while not passage.empty():
            time.sleep(0.001)

    handler = logging.handlers.QueueHandler(passage)
    try:
        yield Pipeline(_logger("queue", handler), settle, passage.qsize)
    finally:
        listener.stop()
