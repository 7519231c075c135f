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
from operator import itemgetter
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.trace import get_current_span

from otel_tasklog.capture._exceptions import render_exception
from otel_tasklog.capture._record import NO_REST, Origin, Rest, Span
from otel_tasklog.capture._shape import EVENT_NAMES, Shape
from otel_tasklog.capture._stamp import STAMP, unstamped
from otel_tasklog.capture._tasks import as_task_id
from otel_tasklog.capture._values import (
    BODY_CHARACTERS,
    STACKTRACE_CHARACTERS,
    VALUE_CHARACTERS,
    AttributeNames,
    Value,
    clean_text,
    clean_value,
    cut,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from opentelemetry.context import Context

    from otel_tasklog.capture._exceptions import CapturedException, RenderedException
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

_NUMBERS: Final = frozenset({int, float, bool, type(None)})
NOTHING: Final[Mapping[str, Any]] = {}
_origin_fields: Final = itemgetter(
    "name", "levelno", "levelname", "pathname", "lineno", "funcName",
    "thread", "threadName", "process",
)  # fmt: skip
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
        self._origins: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._whos: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._shapes: dict[tuple[str, ...], Shape] = {}

    def __call__(self, batch: Iterable[Captured]) -> list[Sealed]:
        """Return the finished form of some records, in their order."""
        # Contexts live as long as the records that hold them, so within this
        # call their ids tell them apart, and no longer.
        spans: dict[int, tuple[Any, ...] | None] = {}
        finished: list[Sealed] = []
        for each in batch:
            captured = unstamped(each) if STAMP in each[2] else each
            try:
                finished.append(self._resolve(captured, spans))
            except Exception as error:  # noqa: BLE001 - one must not cost the rest
                stand_in = replacement(captured, error)
                finished.append(self._resolve(stand_in, spans))
        return finished

    def _resolve(
        self, captured: Captured, spans: dict[int, tuple[Any, ...] | None]
    ) -> Sealed:
        sequence, timestamp_ns, fields, cell, name, scope, context, error, _ = captured
        span = None
        if context is not None:
            if id(context) not in spans:
                spans[id(context)] = _span(context)
            span = spans[id(context)]
        origin = _origin_fields(fields)
        keys: tuple[str, ...] = ()
        values: tuple[Any, ...] = ()
        if len(fields) > STANDARD_FIELDS:
            keys = tuple(islice(fields, STANDARD_FIELDS, None))
            values = tuple(islice(fields.values(), STANDARD_FIELDS, None))
        if scope is not None and scope.attributes:
            keys, values = _with_bound(scope.attributes, keys, values)
        shape = self._shapes.get(keys) or self._new_shape(keys)
        # The text of the message, unless a mapping was logged.
        template: str
        logged: str | dict[str, Value]
        logged = template = fields["msg"]
        body = clean_value(logged, self._names) if type(logged) is dict else None
        given = fields if shape.tells_who else NOTHING
        return (
            sequence,
            timestamp_ns,
            self._origins.get(origin) or self._new_origin(origin),
            self._who(given, logged, scope, cell, name),
            span,
            _message(template, fields["args"]) if body is None else _as_text(body),
            body,
            shape.names,
            self._clean(shape, values),
            _rest(fields, error)
            if error is not None or shape.names_event or fields["stack_info"]
            else NO_REST,
        )

    def _clean(self, shape: Shape, values: tuple[Any, ...]) -> tuple[Value, ...]:
        if shape.odd:
            values = shape.select(values)
        return tuple(
            [
                value
                if type(value) in _NUMBERS
                or (
                    type(value) is str
                    and len(value) <= VALUE_CHARACTERS
                    and value.isascii()
                )
                else clean_value(value, self._names)
                for value in values
            ]
        )

    def _new_shape(self, keys: tuple[str, ...]) -> Shape:
        if len(self._shapes) >= _SHARED_PARTS:
            self._shapes.clear()
        shape = self._shapes[keys] = Shape(keys, self._names)
        return shape

    def _new_origin(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._origins) >= _SHARED_PARTS:
            self._origins.clear()
        origin = self._origins[part] = _clean_origin(part)
        return origin

    def _who(
        self,
        extra: Mapping[str, Any],
        logged: str | dict[str, Value],
        scope: Scope | None,
        cell: TaskCell | None,
        name: str | None,
    ) -> tuple[Any, ...]:
        task_id = parent = None
        if scope is not None:
            task_id, parent = scope.task_id, scope.parent_id
        if extra:
            own = as_task_id(extra.get("task_id"))
            if own is not None and own != task_id:
                task_id, parent = own, task_id
        if task_id is None and type(logged) is dict:
            task_id = as_task_id(logged.get("task_id"))
        if task_id is None and extra:
            task_id = as_task_id(extra.get("job_id")) or as_task_id(
                extra.get("asyncz_task_id")
            )
        number = above = None
        if cell is not None:
            number, above = cell.number, cell.parent
        part = (task_id or name, parent, number, name, above)
        return self._whos.get(part) or self._new_who(part)

    def _new_who(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._whos) >= _SHARED_PARTS:
            self._whos.clear()
        who = tuple(clean_text(p) if type(p) is str else p for p in part)
        self._whos[part] = who
        return who


def replacement(captured: Captured, error: Exception) -> Captured:
    """Return a record that stands in for one that could not be resolved."""
    sequence, timestamp_ns, fields, *_, size = captured
    whole = blank_fields()
    whole["levelno"] = fields["levelno"]
    for field in ("name", "levelname"):
        if type(fields[field]) is str:
            whole[field] = fields[field]
    rest = f"<the rest could not be resolved: {type(error).__name__}>"
    whole["msg"] = f"{shown(fields['msg'])} {rest}"
    return sequence, timestamp_ns, whole, None, None, None, None, None, size


def _clean_origin(part: tuple[Any, ...]) -> tuple[Any, ...]:
    def text(value: object) -> str:
        return clean_text(value if isinstance(value, str) else str(value))

    def number(value: object) -> int:
        return value if isinstance(value, int) else 0

    name, level, severity, path, line, function, thread, thread_name, process = part
    return tuple(
        Origin(
            logger=text(name),
            level=level,  # an int: the handler saw to it
            severity_number=severity_number(level),
            severity_text=text(severity),
            path=text(path),
            line=number(line),
            function=text(function),
            thread_id=thread or 0,
            thread_name=text(thread_name),
            process_id=process or 0,
        )
    )


def _with_bound(
    bound: Mapping[str, object], keys: tuple[str, ...], values: tuple[Any, ...]
) -> tuple[tuple[str, ...], tuple[Any, ...]]:
    merged = {**bound, **dict(zip(keys, values, strict=True))}
    return tuple(merged), tuple(merged.values())


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
            text = f"{template} {shown(args)} [{type(error).__name__}: {error}]"
    if text.isascii() and len(text) <= BODY_CHARACTERS:  # most are
        return text
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
    fields: dict[str, Any], error: CapturedException | RenderedException | None
) -> tuple[Any, ...]:
    event = fields.get(EVENT_NAMES[0]) or fields.get(EVENT_NAMES[1])
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
