"""What the logging thread knows of a record, carried by the record itself.

A ``QueueHandler`` hands a record to another thread, or process, where neither its
task nor its trace can be found out any more, and throws its exception away. A log
record of the SDK brings its own trace and time. Both travel as one attribute of the
``LogRecord``, of plain values only, so that it can be pickled. Where it is found, it
is believed more than what the call saw.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from opentelemetry.context import Context
from opentelemetry.trace import (
    NonRecordingSpan,
    SpanContext,
    TraceFlags,
    get_current_span,
    set_span_in_context,
)

from otel_tasklog.capture._exceptions import RenderedException
from otel_tasklog.capture._names import CREATED
from otel_tasklog.capture._record import Span
from otel_tasklog.capture._tasks import told_of

if TYPE_CHECKING:
    from otel_tasklog.capture._record import Captured
    from otel_tasklog.capture._values import Value

__all__ = ["STAMP", "Stamp", "span_of", "unstamped"]

STAMP: Final = "otel_tasklog_stamp"
"""The attribute of a ``LogRecord`` that holds a `Stamp`."""


class Stamp(NamedTuple):
    """Identity, trace, exception and time of a record, from where it was logged.

    Attributes:
        task_id: The job's, by its scope; None if only the task's name is known.
        task_parent_id: The enclosing job's.
        bound: The attributes of the scope.
        number: The asyncio task's number.
        name: Its name.
        parent_number: Its parent's number.
        span: Trace id, span id, trace flags.
        exception: Its fully-qualified type, its text, its stack trace.
        timestamp_ns: When it was logged; None believes the record.
        message: Its text; None believes the record.
        whole: What is not in it is not so; otherwise it is as the call saw it.
    """

    task_id: str | None = None
    task_parent_id: str | None = None
    bound: dict[str, Value] | None = None
    number: int | None = None
    name: str | None = None
    parent_number: int | None = None
    span: tuple[int, int, int] | None = None
    exception: tuple[str, str, str] | None = None
    timestamp_ns: int | None = None
    message: str | None = None
    whole: bool = False


def unstamped(captured: Captured) -> Captured:
    """Return a captured record as its stamp says it was logged, if it has one."""
    (
        sequence, timestamp_ns, origin, message, layout, values, special,
        numbers, name, told, context, error, size,
    ) = captured  # fmt: skip
    value: object = special.get(STAMP) if special is not None else None
    if type(value) is not Stamp:  # pickled and copied it stays one
        return captured
    stamp = value
    if stamp.whole:
        numbers = name = told = context = None
    if stamp.number is not None:
        numbers, name = (stamp.number, stamp.parent_number), stamp.name
    if stamp.task_id is not None or stamp.bound:
        told = told_of(stamp.task_id, stamp.task_parent_id, stamp.bound or {})
    if stamp.span is not None:
        trace_id, span_id, flags = stamp.span
        found = SpanContext(
            trace_id, span_id, is_remote=False, trace_flags=TraceFlags(flags)
        )
        context = set_span_in_context(NonRecordingSpan(found), Context())
    if stamp.exception is not None:
        error = RenderedException(*stamp.exception)
    if stamp.timestamp_ns is not None and CREATED not in layout[0]:  # else not believed
        timestamp_ns = stamp.timestamp_ns
    # A QueueHandler appends the traceback. What a formatter made of it stays.
    if stamp.message is not None and str(message).startswith(f"{stamp.message}\n"):
        message = stamp.message
    return (
        sequence, timestamp_ns, origin, message, layout, values, special,
        numbers, name, told, context, error, size,
    )  # fmt: skip


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
