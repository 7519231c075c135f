"""A record from JSON, as the API and `TaskRecord.to_dict` write it.

The inverse of `record_json`: what JSON has exactly comes back equal. An attribute that
became a text on the way, such as bytes or an integer beyond 2**53, stays one.
"""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING

from otel_tasklog.capture._levels import severity_number
from otel_tasklog.capture._record import (
    NO_REST,
    Origin,
    Rest,
    Sealed,
    Span,
    TaskRecord,
    Who,
)
from otel_tasklog.viewer._members import Members, check_time

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._values import Value

__all__ = ["body_text", "read_record", "read_sealed", "rest_part", "span_part"]


def read_record(value: Mapping[str, object]) -> TaskRecord:
    """Return the record that was written as *value*.

    Args:
        value: What ``json.loads`` made of it. Members that are not known do no harm.

    Raises:
        ValueError: It is no record; the message says which member is missing, or is
            not what it should be.
    """
    return TaskRecord(read_sealed(value))


def read_sealed(value: Mapping[str, object]) -> Sealed:
    """Return the same in the form that a query's tests take.

    Raises:
        ValueError: As `read_record`.
    """
    members = Members(value)
    body = members.mapping("body") if members.is_mapping("body") else None
    if body is not None and not members.has("message"):
        message = body_text(body)
    else:
        message = members.text("message" if members.has("message") else "body")
    attributes = members.mapping("attributes")
    who = Who(
        task_id=members.maybe_text("task_id"),
        task_parent_id=members.maybe_text("task_parent_id"),
        number=members.maybe_whole("asyncio_task_number"),
        name=members.maybe_text("asyncio_task_name"),
        parent_number=members.maybe_whole("asyncio_task_parent_number"),
    )
    rest = Rest(
        event_name=members.maybe_text("event_name"),
        exception_type=members.maybe_text("exception_type"),
        exception_message=members.maybe_text("exception_message"),
        exception_stacktrace=members.maybe_text("exception_stacktrace"),
        stack_info=members.maybe_text("stack_info"),
        dropped_attributes=members.count("dropped_attributes", 0) or None,
    )
    return (
        members.count("sequence", 0),
        check_time(members.whole("timestamp_ns")),
        tuple(_origin(members)),
        tuple(who),
        span_part(
            members.id("trace_id", 16),
            members.id("span_id", 8),
            members.whole("trace_flags", 0),
        ),
        message,
        body,
        (*attributes,),
        (*attributes.values(),),
        rest_part(rest),
    )


def _origin(members: Members) -> Origin:
    level = members.whole("level")
    return Origin(
        logger=members.text("logger"),
        level=level,
        severity_number=members.count("severity_number", severity_number(level), 24),
        severity_text=members.text("severity_text", logging.getLevelName(level)),
        path=members.text("path", ""),
        line=members.whole("line", 0),
        function=members.text("function", ""),
        thread_id=members.whole("thread_id", 0),
        thread_name=members.text("thread_name", ""),
        process_id=members.whole("process_id", 0),
    )


def body_text(body: Mapping[str, Value]) -> str:
    """Return the message of a record whose body is a mapping, as capture makes it."""
    return json.dumps(body, ensure_ascii=False, default=str)


def rest_part(rest: Rest) -> tuple[object, ...]:
    """Return a `Rest` as a record holds it; an empty one is `NO_REST` itself."""
    return NO_REST if rest == NO_REST else tuple(rest)


def span_part(trace_id: bytes, span_id: bytes, flags: int) -> tuple[object, ...] | None:
    """Return a `Span` as a record holds it; a trace's id of zeros is no span."""
    return tuple(Span(trace_id, span_id, flags & 0xFF)) if any(trace_id) else None
