"""From `Captured` to `Sealed`: everything that the call left for later.

Runs on the worker for each record once, and in a query for a record that the
worker has not reached yet, with equal results. Pure but for three bounded
tables that let records share what repeats; at worst two threads fill in the
same entry.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from opentelemetry.trace import get_current_span

from otel_tasklog.capture._exceptions import render_exception
from otel_tasklog.capture._record import NO_REST, SPECIAL, Origin, Rest, Span
from otel_tasklog.capture._shape import EVENT_NAMES, Shape, Shapes
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
    from collections.abc import Iterable, Mapping, Sequence

    from opentelemetry.context import Context

    from otel_tasklog.capture._exceptions import CapturedException, RenderedException
    from otel_tasklog.capture._record import Captured, Sealed

__all__ = [
    "Resolver",
    "bare",
    "level_of",
    "replacement",
    "severity_number",
    "span_of",
]

_NUMBERS: Final = frozenset({float, bool, type(None)})
_NESTED: Final = frozenset({dict, tuple})
NOTHING: Final[Mapping[str, Any]] = {}
# By the contexts' ids, which tell them apart as long as they live.
_Spans: TypeAlias = "dict[int, tuple[tuple[Any, ...] | None, Context]]"
_SHARED_PARTS: Final = 8_192
_NO_ATTRIBUTES: Final = Shape((), AttributeNames())


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


def level_of(severity: int) -> int:
    """Return the lowest of ``logging``'s levels that has OpenTelemetry's number.

    The inverse of `severity_number`, but for 1, which levels 1 to 5 all have: it is
    5. What is out of range is the nearest.
    """
    if severity <= 0:
        return 0
    tens, ones = divmod(min(severity, 24) - 1, 4)
    return 10 * tens + ones if tens else 5 + ones


class Resolver:
    """Resolves records of one TaskLog. Safe to call from any thread."""

    def __init__(self) -> None:
        self._names = AttributeNames()
        self._origins: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._whos: dict[tuple[Any, ...], tuple[Any, ...]] = {}
        self._shapes = Shapes()  # of records with attributes of a scope

    def __call__(self, batch: Iterable[Captured]) -> list[Sealed]:
        """Return the finished form of some records, in their order."""
        spans: _Spans = {}
        finished: list[Sealed] = []
        for captured in batch:
            try:
                sealed = self._resolve(captured, spans)
            except Exception as error:  # noqa: BLE001 - one must not cost the rest
                sealed = self._resolve(replacement(captured, error), spans)
            finished.append(sealed)
        return finished

    def _resolve(self, captured: Captured, spans: _Spans) -> Sealed:
        special = captured[SPECIAL]
        if special is not None and STAMP in special:
            captured = unstamped(captured)
        (
            sequence, timestamp_ns, origin, message, shape, values, _,
            cell, name, scope, context, error, _,
        ) = captured  # fmt: skip
        task_id = parent = number = above = span = body = None
        if scope is not None:
            task_id, parent = scope.task_id, scope.parent_id
            if scope.attributes:
                shape, values = self._with_bound(scope.attributes, shape, values)
        if cell is not None:
            number, above = cell.number, cell.parent
        if context is not None:
            known = spans.get(id(context)) or _remember(context, spans)
            span = known[0]
        if type(message) is not str or not message.isascii():
            message, body = self._text_and_body(message)
        rest = NO_REST
        said = self._said(special) if special is not None else NOTHING
        if special is not None or body is not None:
            task_id, parent = _job(said, body, task_id, parent)
        if special is not None or error is not None:
            rest = _rest(said, error)
        who = (task_id or name, parent, number, name, above)
        if shape.secret:
            values = shape.redacted(values)
        for value in values:
            if (
                # A scope's may be long; the call cuts its own.
                not value.isascii() or len(value) > VALUE_CHARACTERS
                if type(value) is str
                else type(value) not in _NUMBERS
                and (type(value) is not int or value.bit_length() > 64)
            ):
                values = tuple([clean_value(each, self._names) for each in values])
                break
        return (
            sequence,
            timestamp_ns,
            self._origins.get(origin) or self._new_origin(origin),
            self._whos.get(who) or self._new_who(who),
            span,
            message,
            body,
            shape.names,
            values,
            rest,
        )

    def _said(self, special: Mapping[str, Any]) -> Mapping[str, Any]:
        # What becomes a text of its own must not show what its attribute hides.
        return {
            key: clean_value(value, self._names) if type(value) in _NESTED else value
            for key, value in special.items()
        }

    def _text_and_body(
        self, logged: str | dict[str, Value]
    ) -> tuple[str, dict[str, Value] | None]:
        if type(logged) is str:
            return clean_text(logged), None
        body = clean_value(logged, self._names)
        return _as_text(body), body  # type: ignore[return-value]

    def _with_bound(
        self, bound: Mapping[str, object], shape: Shape, values: tuple[Any, ...]
    ) -> tuple[Shape, tuple[Any, ...]]:
        """Add the attributes of a scope; those of the record win."""
        merged = {**bound, **dict(zip(shape.keys, values, strict=True))}
        whole = self._shapes[(*merged,)]
        return whole, whole.pick(merged)

    def _new_origin(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._origins) >= _SHARED_PARTS:
            self._origins.clear()
        origin = self._origins[part] = _clean_origin(part)
        return origin

    def _new_who(self, part: tuple[Any, ...]) -> tuple[Any, ...]:
        if len(self._whos) >= _SHARED_PARTS:
            self._whos.clear()
        who = tuple(clean_text(p) if type(p) is str else p for p in part)
        self._whos[part] = who
        return who


def replacement(captured: Captured, error: Exception) -> Captured:
    """Return a record that stands in for one that could not be resolved."""
    sequence, timestamp_ns, origin, message, *_, size = captured
    rest = f"<the rest could not be resolved: {type(error).__name__}>"
    return bare(
        sequence, timestamp_ns, f"{shown(message)} {rest}", origin=origin, size=size
    )


def bare(
    sequence: int,
    timestamp_ns: int,
    message: str,
    *,
    origin: Sequence[object],
    size: int,
) -> Captured:
    """Return a record of which little is known.

    Args:
        sequence: Its number.
        timestamp_ns: When it was logged.
        message: Its text.
        origin: Of its `ORIGIN_FIELDS` at least the first three, of any type.
        size: What it takes.
    """
    name, level, severity, *_ = origin
    known = (
        name if isinstance(name, str) else "",
        level if type(level) is int else 0,
        severity if isinstance(severity, str) else "NOTSET",
    )
    return (
        sequence, timestamp_ns, (*known, "", 0, "", 0, "", 0), message,
        _NO_ATTRIBUTES, (), None, None, None, None, None, None, size,
    )  # fmt: skip


def _clean_origin(part: tuple[Any, ...]) -> tuple[Any, ...]:
    def text(value: object) -> str:
        return clean_text(value if isinstance(value, str) else str(value or ""))

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


def _job(
    special: Mapping[str, Any], body: Value, task_id: str | None, parent: str | None
) -> tuple[str | None, str | None]:
    """Return the ids of a record's job and of the one around it."""
    own = as_task_id(special.get("task_id"))
    if own is not None and own != task_id:
        return own, task_id
    if task_id is None and type(body) is dict:
        task_id = as_task_id(body.get("task_id"))
    if task_id is None:
        task_id = as_task_id(special.get("job_id")) or as_task_id(
            special.get("asyncz_task_id")
        )
    return task_id, parent


def _remember(
    context: Context, spans: _Spans
) -> tuple[tuple[Any, ...] | None, Context]:
    found = spans[id(context)] = span_of(context), context
    return found


def span_of(context: Context) -> tuple[Any, ...] | None:
    """Return the `Span` that is current in a context, or None if there is none."""
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
    special: Mapping[str, Any], error: CapturedException | RenderedException | None
) -> tuple[Any, ...]:
    event = special.get(EVENT_NAMES[0]) or special.get(EVENT_NAMES[1])
    stack = special.get("stack_info")
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
