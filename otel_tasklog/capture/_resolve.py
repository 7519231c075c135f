"""From `Captured` to `Sealed`: everything that the call left for later.

Runs on the worker for each record once, and in a query for a record that the
worker has not reached yet, with equal results. Pure but for three bounded
tables that let records share what repeats; at worst two threads fill in the
same entry.
"""

from __future__ import annotations

import json
import logging
from itertools import islice
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import get_current_span

from otel_tasklog.capture._exceptions import render_exception
from otel_tasklog.capture._record import NO_REST, Origin, Rest, Span
from otel_tasklog.capture._tasks import as_task_id
from otel_tasklog.capture._values import (
    BODY_CHARACTERS,
    REDACTED,
    STACKTRACE_CHARACTERS,
    VALUE_CHARACTERS,
    AttributeNames,
    Value,
    clean_text,
    clean_value,
    cut,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context

    from otel_tasklog.capture._exceptions import CapturedException
    from otel_tasklog.capture._record import Captured, Sealed
    from otel_tasklog.capture._tasks import Scope, TaskCell

__all__ = [
    "STANDARD_FIELDS",
    "Resolver",
    "blank_fields",
    "replacement",
    "severity_number",
]

STANDARD_FIELDS: Final = len(logging.makeLogRecord({}).__dict__)
"""How many fields a LogRecord has before any extra: 22 on 3.11, 23 from 3.12."""

# Not attributes: what formatters leave behind, what the trace instrumentation
# adds of what the record has already, and what is sent as the task's identity.
_NOT_ATTRIBUTES: Final = frozenset(
    {
        *logging.makeLogRecord({}).__dict__, "message", "asctime", "task_id",
        # structlog's own, on records of its ProcessorFormatter.wrap_for_formatter.
        "_logger", "_name",
        "otelTraceID", "otelSpanID", "otelTraceSampled", "otelServiceName",
    }
)  # fmt: skip
_EVENT_NAMES: Final = ("otel.event.name", "event.name")
_SHARED_PARTS: Final = 8_192


def blank_fields() -> dict[str, Any]:
    """Return the fields of a record that says nothing, of the right types."""
    blank = {"name": "", "levelno": 0, "levelname": "NOTSET", "funcName": ""}
    return logging.makeLogRecord(blank).__dict__


def severity_number(level: int) -> int:
    """Return OpenTelemetry's number for one of ``logging``.

    Ten levels of Python map onto each range of four, the first three one to one
    (DEBUG 10 is 5, INFO 20 is 9 ...); levels 1 to 9 are TRACE, 0 is unspecified.

    See https://opentelemetry.io/docs/specs/otel/logs/data-model/#field-severitynumber
    """
    if level <= 0:
        return 0
    tens, ones = divmod(min(level, 59), 10)
    return 1 + 4 * tens + min(ones, 3) if tens else 1 + min(max(level - 5, 0), 3)


class Resolver:
    """Resolves records of one TaskLog. Safe to call from any thread."""

    def __init__(self) -> None:
        self._names = AttributeNames()
        self._shared: dict[tuple[Any, ...], tuple[Any, ...]] = {}

    def __call__(self, batch: Iterable[Captured]) -> list[Sealed]:
        """Return the finished form of some records, in their order."""
        # Contexts live as long as the records that hold them, so within this
        # call their ids tell them apart, and no longer.
        spans: dict[int, tuple[Any, ...] | None] = {}
        return [self._resolve(captured, spans) for captured in batch]

    def _resolve(
        self, captured: Captured, spans: dict[int, tuple[Any, ...] | None]
    ) -> Sealed:
        sequence, timestamp_ns, fields, cell, name, scope, context, error, _ = captured
        if context is None:
            span = None
        elif id(context) in spans:
            span = spans[id(context)]
        else:
            span = spans[id(context)] = _span(context)
        extra: Mapping[str, Any] = (
            dict(islice(fields.items(), STANDARD_FIELDS, None))
            if len(fields) > STANDARD_FIELDS
            else {}
        )
        # The text of the message, unless a mapping was logged.
        template: str
        logged: str | dict[str, Value]
        logged = template = fields["msg"]
        body = clean_value(logged, self._names) if type(logged) is dict else None
        keys, values = self._attributes(extra, scope)
        return (
            sequence,
            timestamp_ns,
            self._origin(fields),
            self._who(extra, logged, scope, cell, name),
            span,
            _message(template, fields["args"]) if body is None else _as_text(body),
            body,
            keys,
            values,
            _rest(extra, fields, error),
        )

    def _share(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        shared = self._shared.get(part)
        if shared is None:
            if len(self._shared) >= _SHARED_PARTS:
                self._shared.clear()
            shared = self._shared[part] = part
        return shared

    def _origin(self, fields: dict[str, Any]) -> tuple[Any, ...]:
        level = fields["levelno"]  # an int: the handler saw to it
        part = (
            fields["name"], level, severity_number(level), fields["levelname"],
            fields["pathname"], fields["lineno"], fields["funcName"],
            fields["thread"], fields["threadName"], fields["process"],
        )  # fmt: skip
        shared = self._shared.get(part)
        return shared if shared is not None else self._share(_clean_origin(part))

    def _who(
        self,
        extra: Mapping[str, Any],
        logged: str | dict[str, Value],
        scope: Scope | None,
        cell: TaskCell | None,
        name: str | None,
    ) -> tuple[Any, ...]:
        enclosing = scope.task_id if scope is not None else None
        parent = scope.parent_id if scope is not None else None
        own = as_task_id(extra.get("task_id")) if extra else None
        if own is not None and own != enclosing:
            parent = enclosing
        task_id = own or enclosing
        if task_id is None and type(logged) is dict:
            task_id = as_task_id(logged.get("task_id"))
        if task_id is None and extra:
            task_id = as_task_id(extra.get("job_id")) or as_task_id(
                extra.get("asyncz_task_id")
            )
        number = cell.number if cell is not None else None
        above = cell.parent if cell is not None else None
        part = (task_id or name, parent, number, name, above)
        shared = self._shared.get(part)
        if shared is not None:
            return shared
        return self._share(tuple(clean_text(p) if type(p) is str else p for p in part))

    def _attributes(
        self, extra: Mapping[str, Any], scope: Scope | None
    ) -> tuple[tuple[str, ...], tuple[Value, ...]]:
        if scope is not None and scope.attributes:
            extra = {**scope.attributes, **extra}
        if not extra:
            return (), ()
        keys: list[str] = []
        values: list[Value] = []
        for key, value in extra.items():
            if key in _NOT_ATTRIBUTES:
                continue
            name, secret = self._names[key]
            keys.append(name)
            if secret and type(value) is not bool and value is not None:
                values.append(REDACTED)
            elif type(value) is int or type(value) is float:
                values.append(value)
            else:
                values.append(clean_value(value, self._names))
        return self._share(tuple(keys)), tuple(values)


def replacement(captured: Captured, error: Exception) -> Captured:
    """Return a record that stands in for one that could not be resolved."""
    sequence, timestamp_ns, fields, *_, size = captured
    whole = blank_fields()
    whole["levelno"], whole["levelname"] = fields["levelno"], fields["levelname"]
    whole["msg"] = f"{fields['msg']!r} <the rest could not be resolved: {error!r}>"
    return sequence, timestamp_ns, whole, None, None, None, None, None, size


def _clean_origin(part: tuple[Any, ...]) -> tuple[Any, ...]:
    def text(value: object) -> str:
        return clean_text(value if isinstance(value, str) else str(value))

    def number(value: object) -> int:
        return value if isinstance(value, int) else 0

    origin = Origin._make(part)
    return tuple(
        origin._replace(
            logger=text(origin.logger),
            line=number(origin.line),
            thread_id=origin.thread_id or 0,
            process_id=origin.process_id or 0,
            severity_text=text(origin.severity_text),
            path=text(origin.path),
            function=text(origin.function),
            thread_name=text(origin.thread_name),
        )
    )


def _span(context: Context) -> tuple[Any, ...] | None:
    found = get_current_span(context).get_span_context()
    if not found.is_valid:
        return None
    return tuple(
        Span(
            found.trace_id.to_bytes(16, "big"),
            found.span_id.to_bytes(8, "big"),
            int(found.trace_flags) & 0xFF,
        )
    )


def _message(template: str, args: tuple[object, ...] | None) -> str:
    text = template
    if args:
        try:
            text = template % args
        except Exception as error:  # noqa: BLE001 - the record is worth more
            text = f"{template} {args!r} [{type(error).__name__}: {error}]"
    return clean_text(cut(text, BODY_CHARACTERS))


def _as_text(body: Value) -> str:
    return cut(json.dumps(body, ensure_ascii=False, default=str), BODY_CHARACTERS)


def _middle_cut(trace: str) -> str:
    """Return a stack trace; of a huge one the two ends, which tell the story."""
    if len(trace) > STACKTRACE_CHARACTERS:
        half = STACKTRACE_CHARACTERS // 2
        gone = len(trace) - 2 * half
        trace = f"{trace[:half]}\n… [{gone} characters cut]\n{trace[-half:]}"
    return clean_text(trace)


def _rest(
    extra: Mapping[str, Any], fields: dict[str, Any], error: CapturedException | None
) -> tuple[Any, ...]:
    event = None
    if extra:
        event = extra.get(_EVENT_NAMES[0]) or extra.get(_EVENT_NAMES[1])
    stack = fields["stack_info"]
    if event is None and error is None and not stack:
        return NO_REST
    return tuple(
        Rest(
            clean_text(cut(str(event), VALUE_CHARACTERS)) if event else None,
            clean_text(error.type_name) if error else None,
            clean_text(cut(error.text, VALUE_CHARACTERS)) if error else None,
            _middle_cut(render_exception(error)) if error else None,
            _middle_cut(str(stack)) if stack else None,
        )
    )
