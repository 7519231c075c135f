"""The way in behind a ``LoggerProvider``: its records become those of ``logging``.

Nothing is captured here. A record of the SDK is written into the fields of a
``LogRecord``, with a stamp of what the SDK knows better, and the handler takes it from
there as it takes any other.

The rule: what the record says of itself stands in the record's own field, and
everything else is an attribute.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Final

from opentelemetry._logs import SeverityNumber
from opentelemetry.context import get_value
from opentelemetry.sdk._logs import LogRecordProcessor
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.semconv.attributes import code_attributes as code
from opentelemetry.semconv.attributes import exception_attributes as exception
from opentelemetry.semconv.attributes import otel_attributes as otel

from otel_tasklog._errors import ClosedError, NotInstalledError
from otel_tasklog._install import current
from otel_tasklog.capture._handler import TaskLogHandler
from otel_tasklog.capture._levels import level_of
from otel_tasklog.capture._shape import EVENT_NAMES, free_name
from otel_tasklog.capture._stamp import STAMP, Stamp
from otel_tasklog.capture._values import describe, shown
from otel_tasklog.delivery._echo import FORWARDER

if TYPE_CHECKING:
    from opentelemetry._logs import LogRecord
    from opentelemetry.sdk._logs import ReadWriteLogRecord
    from opentelemetry.util.types import AnyValue

    from otel_tasklog._tasklog import TaskLog

__all__ = ["TaskLogProcessor"]

_NO_SCOPE: Final = InstrumentationScope("")
_FIELDS: Final = MappingProxyType(
    {
        code.CODE_FILE_PATH: ("pathname", str),
        code.CODE_FUNCTION_NAME: ("funcName", str),
        code.CODE_LINE_NUMBER: ("lineno", int),
        code.CODE_STACKTRACE: ("stack_info", str),
        "thread.id": ("thread", int),
        "thread.name": ("threadName", str),
        "process.pid": ("process", int),
    }
)
_EXCEPTION: Final = (
    exception.EXCEPTION_TYPE,
    exception.EXCEPTION_MESSAGE,
    exception.EXCEPTION_STACKTRACE,
)
_IDENTITY: Final = MappingProxyType(
    {
        "task_id": "task_id",
        "task_parent_id": "task_parent_id",
        "asyncio.task.id": "number",
        "asyncio.task.name": "name",
        "asyncio.task.parent_id": "parent_number",
    }
)
_OF_A_TASKLOG: Final = _IDENTITY.keys() - {"task_id"}
"""Only a record that another TaskLog sent has one of these."""


class TaskLogProcessor(LogRecordProcessor):
    """Puts a TaskLog behind a ``LoggerProvider`` of the OpenTelemetry SDK.

    Each record that the provider's loggers emit is captured as if it had been logged
    there, with the task and the scope that it is emitted in. Its own time, trace,
    severity, event name, exception and code location count. Its resource does not:
    the TaskLog sends its own.

    Processors run in the order they were added in, so add it behind those that
    change records.

    Guarantees of `on_emit`, as of any log call:

    * It takes no lock, does no I/O, never waits and never raises.
    * What the TaskLog itself sent through the provider, or says on its own threads,
      does not come in again.

    Args:
        tasklog: Captures the records; the level and the filters of its ``handler``
            apply. By default the installed one, as for a `TaskLogHandler` made by
            hand.
    """

    def __init__(self, tasklog: TaskLog | None = None) -> None:
        self._given = tasklog
        self._handler = tasklog.handler if tasklog is not None else TaskLogHandler()

    def on_emit(self, log_record: ReadWriteLogRecord) -> None:
        """Capture a record. Never raises or waits."""
        if self._has_sent(log_record.log_record):
            return
        try:
            record = _as_logging(log_record)
        except Exception as error:  # noqa: BLE001 - keep what can be kept
            record = _salvaged(log_record, error)
        if record.levelno >= self._handler.level:
            self._handler.handle(record)

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Deliver what was captured before the call. Blocks.

        Returns:
            Whether all of it was delivered or finally refused in time. True without
            an open TaskLog, which has nothing to deliver any more.
        """
        tasklog = self._tasklog()
        return tasklog is None or _flush(tasklog, timeout_millis / 1_000)

    def shutdown(self) -> None:
        """Deliver what was captured, within ``exit_timeout_seconds``. Blocks.

        The TaskLog stays open: whoever installed it closes it.
        """
        tasklog = self._tasklog()
        if tasklog is not None:
            _flush(tasklog, tasklog.config.exit_timeout_seconds)

    def _tasklog(self) -> TaskLog | None:
        if self._given is not None:
            return self._given
        with contextlib.suppress(NotInstalledError):
            return current()
        return None

    def _has_sent(self, record: LogRecord) -> bool:
        # The record tells, for the thread may be any: a provider can run its
        # processors on threads of its own.
        sender = get_value(FORWARDER, record.context)
        if sender is None:
            return False
        tasklog = self._tasklog()
        return tasklog is not None and sender in tasklog.port.own_threads


def _flush(tasklog: TaskLog, timeout_seconds: float) -> bool:
    try:
        return tasklog.flush(timeout_seconds)
    except ClosedError:
        return True


def _as_logging(emitted: ReadWriteLogRecord) -> logging.LogRecord:
    """Return a record of the SDK as one of ``logging``, stamped."""
    source = emitted.log_record
    scope = emitted.instrumentation_scope or _NO_SCOPE
    severity = SeverityNumber(source.severity_number or 0)
    # Not made by the factory, which is for records that are logged.
    record = logging.LogRecord(
        name=scope.name,
        level=level_of(severity.value),
        pathname="",
        lineno=0,
        msg=_message(source.body),
        args=None,
        exc_info=None,
        func="",
    )
    fields = record.__dict__
    fields["levelname"] = source.severity_text or (
        severity.name if severity.value else ""
    )
    attributes: dict[str, Any] = dict(source.attributes or {})
    for name, (field, kind) in _FIELDS.items():
        if type(attributes.get(name)) is kind:
            fields[field] = attributes.pop(name)
    stamp = _stamp(source, attributes)
    if stamp.timestamp_ns:
        fields["created"] = stamp.timestamp_ns / 1e9
    if scope.version:
        attributes.setdefault(otel.OTEL_SCOPE_VERSION, scope.version)
    if source.event_name and source.event_name not in map(attributes.get, EVENT_NAMES):
        attributes[EVENT_NAMES[0]] = source.event_name
    for name, value in attributes.items():
        fields[free_name(name)] = value
    fields[STAMP] = stamp
    return record


def _message(body: AnyValue) -> object:
    if isinstance(body, Mapping):
        return dict(body)
    return "" if body is None else body


def _stamp(source: LogRecord, attributes: dict[str, Any]) -> Stamp:
    """Return what the record knows better, and take it out of *attributes*."""
    stamp = _carried(attributes.pop(STAMP, None))
    known: dict[str, Any] = {}
    if not _OF_A_TASKLOG.isdisjoint(attributes):
        found = _IDENTITY.keys() & attributes.keys()
        known = {_IDENTITY[name]: attributes.pop(name) for name in found}
    timestamp_ns = int(source.timestamp or source.observed_timestamp or 0)
    known["timestamp_ns"] = timestamp_ns or None
    if source.trace_id or stamp.span is None:
        # Also without a trace: that of this call need not be the record's.
        flags = int(source.trace_flags or 0)
        known["span"] = source.trace_id or 0, source.span_id or 0, flags
    texts = [attributes.pop(name, None) for name in _EXCEPTION]
    if any(texts):
        known["exception"] = tuple([str(each or "") for each in texts])
    return stamp._replace(**known)


def _carried(value: object) -> Stamp:
    """Return the stamp of a `TaskLogFilter`, if an official handler passed it on."""
    if isinstance(value, tuple):
        parts: tuple[Any, ...] = value  # pyright: ignore[reportUnknownVariableType]
        if len(parts) == len(Stamp._fields):
            return Stamp._make(parts)
    return Stamp()


def _salvaged(emitted: ReadWriteLogRecord, error: Exception) -> logging.LogRecord:
    """Keep what can be kept of a record that says what none can say."""
    message = f"{shown(emitted.log_record.body)} [{describe(emitted, error)}]"
    name = (emitted.instrumentation_scope or _NO_SCOPE).name
    return logging.LogRecord(name, logging.NOTSET, "", 0, message, None, None, "")
