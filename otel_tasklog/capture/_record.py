"""The three forms of a record.

``Captured``
    What the log call could not leave for later, a tuple. It may still hold objects of
    the application: the OpenTelemetry context, code objects. Without them it is of
    atoms and tuples of atoms, too: the garbage collector, which a burst of log calls
    keeps busy, looks at it twice and never again.
``Sealed``
    The finished record, a plain tuple of atoms and tuples of atoms. That shape
    is on purpose: the garbage collector stops tracking such tuples at its first
    visit, so 100,000 kept records cost a full collection almost nothing. Parts
    that repeat (`Origin`, `Who`, `Span`) are shared between records.
``TaskRecord``
    What a query, a follower or a test sees: a read-only view with names.

The order of a ``Sealed``'s fields is known here alone, by the constants below.
"""

from __future__ import annotations

import datetime
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

from otel_tasklog._text import visible

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.context import Context

    from otel_tasklog.capture._exceptions import Parts, RenderedException
    from otel_tasklog.capture._shape import Layout
    from otel_tasklog.capture._values import Value

__all__ = [
    "CONTEXT",
    "ORIGIN",
    "ORIGIN_FIELDS",
    "SEQUENCE",
    "SIZE",
    "SPECIAL",
    "WHO",
    "Captured",
    "Origin",
    "Sealed",
    "Span",
    "TaskRecord",
    "Who",
    "Whole",
]

_Int: TypeAlias = Any
"""An int that compiled code need not take out of its object and put into another."""

Captured: TypeAlias = """tuple[
    _Int,                      # SEQUENCE: the order of the calls in this process
    _Int,                      # timestamp_ns
    tuple[Any, ...],           # ORIGIN, as yet raw: the fields that ORIGIN_FIELDS names
    str | dict[str, Value],    # the text, its arguments filled in; or a mapping
    Layout,                    # of the attributes
    tuple[Any, ...],           # their values, safe to keep
    Mapping[str, Any] | None,  # SPECIAL: what few records have
    tuple[Any, ...] | None,    # the running asyncio task's number, and its parent's
    str | None,                # ... and its name
    tuple[Any, ...] | None,    # what the innermost task() or bind() says
    Context | None,            # CONTEXT: OpenTelemetry's context, None if it is empty
    Parts | RenderedException | None, # the exception
    int,                       # SIZE: a constant and the lengths of the texts
]"""
"""Read outside of `resolve` are only the positions that have a name."""

ORIGIN_FIELDS: Final = (
    "name", "levelno", "levelname", "pathname", "lineno", "funcName",
    "thread", "threadName", "process",
)  # fmt: skip
"""The fields of a ``LogRecord`` that become its `Origin`."""

SPECIAL: Final = 6
CONTEXT: Final = 10
SIZE: Final = 12


class Origin(NamedTuple):
    """Where a record was logged. As a plain tuple it is shared by its records."""

    logger: str
    level: int
    severity_number: int
    severity_text: str
    path: str
    line: int
    function: str
    thread_id: int
    thread_name: str
    process_id: int


class Who(NamedTuple):
    """Who logged a record. As a plain tuple it is shared by its records."""

    task_id: str | None
    task_parent_id: str | None
    number: int | None
    name: str | None
    parent_number: int | None


class Span(NamedTuple):
    """The span context, as the wire has it."""

    trace_id: bytes
    span_id: bytes
    flags: int


class Rest(NamedTuple):
    """What few records have."""

    event_name: str | None
    exception_type: str | None
    exception_message: str | None
    exception_stacktrace: str | None
    stack_info: str | None
    dropped_attributes: int | None


NO_REST: Final = (None,) * len(Rest._fields)

# The first three of a Captured, too.
SEQUENCE: Final = 0
TIMESTAMP_NS: Final = 1
ORIGIN: Final = 2
WHO: Final = 3
SPAN: Final = 4
MESSAGE: Final = 5
BODY: Final = 6
KEYS: Final = 7
VALUES: Final = 8
REST: Final = 9

Sealed: TypeAlias = """tuple[
    _Int,                      # SEQUENCE
    _Int,                      # TIMESTAMP_NS
    tuple[Any, ...],           # ORIGIN
    tuple[Any, ...],           # WHO
    tuple[Any, ...] | None,    # SPAN
    str,                       # MESSAGE
    dict[str, Value] | None,   # BODY, if a mapping was logged
    tuple[str, ...],           # KEYS of the attributes, shared
    tuple[Value, ...],         # VALUES of the attributes
    tuple[Any, ...],           # REST, usually NO_REST
]"""


Whole: TypeAlias = tuple[Any, ...]
"""A `Captured` or a `Sealed` in the hands of who passes it on. Where this is compiled,
a tuple of which each item's type is known is taken apart when it is read, and would be
another one when it is put somewhere."""


class TaskRecord:
    """A finished record: read-only, and equal to itself wherever it was read.

    Cheap to make (one reference), so a query can return thousands. Safe to read
    from any thread.
    """

    __slots__ = ("_sealed",)

    def __init__(self, sealed: Sealed) -> None:
        self._sealed = sealed

    @property
    def sequence(self) -> int:
        """The order of the log calls in this process; records are sorted by it."""
        number: int = self._sealed[SEQUENCE]
        return number

    @property
    def timestamp_ns(self) -> int:
        """Nanoseconds since the epoch; distinct for each record of a process."""
        moment: int = self._sealed[TIMESTAMP_NS]
        return moment

    @property
    def time(self) -> datetime.datetime:
        """The timestamp as an aware datetime in UTC, to the microsecond."""
        return datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC) + datetime.timedelta(
            microseconds=self.timestamp_ns // 1_000
        )

    @property
    def origin(self) -> Origin:
        """Logger, level, code location, thread and process."""
        return Origin._make(self._sealed[ORIGIN])

    @property
    def logger(self) -> str:
        """The logger's name."""
        return self.origin.logger

    @property
    def level(self) -> int:
        """The level as ``logging`` numbers it."""
        return self.origin.level

    @property
    def severity_number(self) -> int:
        """The level as OpenTelemetry numbers it, 1 to 24; 0 if it says nothing."""
        return self.origin.severity_number

    @property
    def severity_text(self) -> str:
        """The level's name as the application has it: ``WARNING``, not ``WARN``."""
        return self.origin.severity_text

    @property
    def who(self) -> Who:
        """The job and the asyncio task, as one tuple."""
        return Who._make(self._sealed[WHO])

    @property
    def task_id(self) -> str | None:
        """The job's id, or None outside of any job and task."""
        return self.who.task_id

    @property
    def task_parent_id(self) -> str | None:
        """The id of the job around that job, or None."""
        return self.who.task_parent_id

    @property
    def asyncio_task_number(self) -> int | None:
        """The asyncio task's number, never reused; None outside of a task."""
        return self.who.number

    @property
    def asyncio_task_name(self) -> str | None:
        """The asyncio task's name when the record was logged."""
        return self.who.name

    @property
    def asyncio_task_parent_number(self) -> int | None:
        """The number of the nearest ancestor task that had logged, or None."""
        return self.who.parent_number

    @property
    def trace_id(self) -> str | None:
        """32 hexadecimal digits, or None outside of a trace."""
        span = self._sealed[SPAN]
        return Span._make(span).trace_id.hex() if span is not None else None

    @property
    def span_id(self) -> str | None:
        """16 hexadecimal digits, or None outside of a trace."""
        span = self._sealed[SPAN]
        return Span._make(span).span_id.hex() if span is not None else None

    @property
    def trace_flags(self) -> int:
        """W3C trace flags; 1 if the trace is sampled."""
        span = self._sealed[SPAN]
        return Span._make(span).flags if span is not None else 0

    @property
    def message(self) -> str:
        """The text, its arguments filled in."""
        return self._sealed[MESSAGE]

    @property
    def body(self) -> str | dict[str, Value]:
        """The message, or the mapping if one was logged. Do not change it."""
        structured = self._sealed[BODY]
        return structured if structured is not None else self.message

    @property
    def attributes(self) -> dict[str, Value]:
        """What ``extra``, `bind` and `task` added, cleaned and redacted; a new dict."""
        return dict(zip(self._sealed[KEYS], self._sealed[VALUES], strict=True))

    @property
    def rest(self) -> Rest:
        """Event name, exception and stack: what few records have."""
        return Rest._make(self._sealed[REST])

    @property
    def event_name(self) -> str | None:
        """The value of an ``event.name`` in ``extra``, or None."""
        return self.rest.event_name

    @property
    def exception_type(self) -> str | None:
        """The exception's fully-qualified type, or None."""
        return self.rest.exception_type

    @property
    def exception_message(self) -> str | None:
        """The exception's text, or None."""
        return self.rest.exception_message

    @property
    def exception_stacktrace(self) -> str | None:
        """The traceback as Python prints it, or None."""
        return self.rest.exception_stacktrace

    @property
    def stack_info(self) -> str | None:
        """The stack of a call with ``stack_info=True``, or None."""
        return self.rest.stack_info

    @property
    def dropped_attributes(self) -> int:
        """How many attributes there was no room for."""
        return self.rest.dropped_attributes or 0

    def to_dict(self) -> Mapping[str, object]:
        """Return all of it as a new dict of plain values, without the empty ones."""
        everything = {
            "sequence": self.sequence,
            "timestamp_ns": self.timestamp_ns,
            **self.origin._asdict(),
            "task_id": self.task_id,
            "task_parent_id": self.task_parent_id,
            "asyncio_task_number": self.asyncio_task_number,
            "asyncio_task_name": self.asyncio_task_name,
            "asyncio_task_parent_number": self.asyncio_task_parent_number,
            "trace_id": self.trace_id,
            "span_id": self.span_id,
            "body": self.body,
            "attributes": self.attributes,
            **self.rest._asdict(),
        }
        return {k: v for k, v in everything.items() if v is not None and v != {}}

    def __repr__(self) -> str:
        return (
            f"<TaskRecord {self.sequence} {visible(self.severity_text)} "
            f"{visible(self.logger)} "
            f"task_id={self.task_id!r} {self.message!r}>"
        )

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, TaskRecord):
            return NotImplemented
        return self._sealed == other._sealed

    def __hash__(self) -> int:
        return hash(self._sealed[:2])
