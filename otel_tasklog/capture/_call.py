"""What a log call takes of a ``logging.LogRecord``: a `Captured`, on its own thread.

What must be taken now, because it will be gone or changed later: the fields (other
handlers' formatters edit levelname, msg and args in place), the running task, the
scope, the trace context, the texts and offsets of an exception. All else waits for
the worker.

It takes no lock, does no I/O and never waits. It never raises, but lets a
``BaseException`` such as ``KeyboardInterrupt`` pass.
"""

from __future__ import annotations

import contextlib
import logging
import os
import sys
import time
from asyncio import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    current_task,
)
from operator import itemgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.context import get_current

from otel_tasklog.capture._events import unwrapped
from otel_tasklog.capture._exceptions import capture_exception
from otel_tasklog.capture._record import ORIGIN_FIELDS
from otel_tasklog.capture._resolve import bare
from otel_tasklog.capture._sizes import LARGE_BYTES, RECORD_BYTES, length
from otel_tasklog.capture._stamp import Stamp
from otel_tasklog.capture._tasks import current_scope, number_task
from otel_tasklog.capture._unusual import (
    copied,
    formatted,
    mended,
    second_look,
    timed,
    unformatted,
)
from otel_tasklog.capture._values import ATOMS, cut, describe, shown, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tasklog.capture._exceptions import Parts
    from otel_tasklog.capture._port import Port
    from otel_tasklog.capture._record import Whole
    from otel_tasklog.capture._shape import Shape
    from otel_tasklog.capture._tasks import TaskCell
    from otel_tasklog.capture._values import Value

    Format = Callable[[logging.LogRecord], object]

__all__ = ["take"]

_OURS: Final = ("otel_tasklog", "opentelemetry")
SMALL_ATOMS: Final = ATOMS - {str, bytes}
_KEPT: Final = ATOMS | {Stamp}  # a stamp is of plain values that nobody changes
_PLAIN: Final = logging.LogRecord
# What is called for each record, as names that nobody sets anew: compiled, they need
# not be looked up.
_origin_fields: Final = itemgetter(*ORIGIN_FIELDS)
_scope: Final = current_scope.get
_context: Final = get_current
_running_loop: Final = _get_running_loop
_running_task: Final = current_task
_ident: Final = get_ident
_NAME: Final = 0  # in ORIGIN_FIELDS, and so on
_LEVEL: Final = 1
_LINE: Final = 4
_THREAD: Final = 6
_PROCESS: Final = 8
_NO_TIME_BEFORE: Final = 1_000_000
"""Nanoseconds by which a clock may step back before its time is believed."""
_BELIEVED: Final = 60_000_000_000
"""Nanoseconds by which a record may be later than the one before, unseen."""


def take(record: logging.LogRecord, port: Port, text_of: Format | None) -> None:
    """Capture a record and hand it over, if it is not of our own threads.

    Args:
        record: The record.
        port: Where to.
        text_of: Makes its text, if a formatter was set.
    """
    try:
        fields: dict[str, Any] = record.__dict__
        # Before a number is drawn: one of them may be missing.
        origin: tuple[Any, ...] = _origin_fields(fields)
        # The thread is None where logging.logThreads is off.
        ident = origin[_THREAD] or _ident()
        if ident in port.own_threads and _is_ours(ident, origin, port):
            return
        captured = _capture(record, origin, port, text_of)
    except Exception as error:  # noqa: BLE001 - keep what can be kept
        if _is_odd_one_of_ours(record, port):
            return
        captured = _salvage(record, error, port, text_of)
    port.accept(captured)


def _is_ours(ident: object, origin: tuple[Any, ...], port: Port) -> bool:
    """Say whether a record of one of our own threads is ours, too.

    The collector may run on the worker too, and asyncio's "exception was never
    retrieved", or any ``__del__``, says there what is not ours. Behind a queue, the
    thread may be another process's.
    """
    if ident == port.worker_thread and not origin[_NAME].startswith(_OURS):
        return False
    return origin[_PROCESS] in (None, os.getpid())


def _is_odd_one_of_ours(record: logging.LogRecord, port: Port) -> bool:
    """Say it of a record that has not all the fields, or any that cannot be read.

    Somebody may delete one from all records: each request to the collector that logs
    would be followed by another one.
    """
    try:
        origin = tuple([getattr(record, name, None) for name in ORIGIN_FIELDS])
        ident = origin[_THREAD] or _ident()
        return ident in port.own_threads and _is_ours(ident, origin, port)
    except Exception:  # noqa: BLE001 - what cannot be asked is not ours
        return False


def _capture(
    record: logging.LogRecord,
    origin: tuple[Any, ...],
    port: Port,
    text_of: Format | None,
) -> Whole:
    fields: dict[str, Any] = record.__dict__
    # Filling the arguments in costs what looking whether they could change does,
    # and leaves one text to keep in place of them.
    message = fields["msg"]
    if (
        type(message) is not str
        or text_of is not None
        or type(record) is not _PLAIN  # may have a text of its own
        or type(origin[_LEVEL]) is not int
    ):
        message, fields = _text_of(record, text_of)
        origin = _origin_fields(fields)
    elif fields["args"]:
        message = message % fields["args"]
    created: float = fields["created"]
    now_ns, last_ns = int(created * 1e9), port.last_ns
    # Loki keeps one of two entries with equal time and text. No call stands
    # between that read and this write, so no thread can either.
    port.last_ns = timestamp_ns = (
        last_ns + 1 if now_ns <= last_ns < now_ns + _NO_TIME_BEFORE else now_ns
    )
    if not last_ns < timestamp_ns < last_ns + _BELIEVED:
        timestamp_ns, fields = timed(fields, now_ns, last_ns)
        port.last_ns = timestamp_ns
    shape, origin, values = _shared(fields, origin, port)
    size = RECORD_BYTES + len(message)
    for value in values:
        if type(value) is str:
            size += len(value)
        elif type(value) is not int and type(value) not in SMALL_ATOMS:
            size = LARGE_BYTES  # it could change, or is large
    if size >= LARGE_BYTES or type(message) is not str:
        message, values, size = copied(message, values, port.limits)

    numbers = name = special = error = None
    loop = _running_loop()
    task = _running_task(loop) if loop is not None else None
    if task is not None:
        cell: TaskCell = getattr(task, "otel_tasklog_cell", None) or number_task(task)
        numbers, name = cell.numbers, task.get_name()
    scope = _scope()
    if shape.special or fields["exc_info"] or fields["stack_info"]:
        special, error, size = _rare(fields, shape, size)
    return (
        port.next_sequence(),
        timestamp_ns,
        origin,
        message,
        shape.layout,
        values,
        special,
        numbers,
        name,
        scope.told if scope is not None else None,
        _context() or None,
        error,
        size,
    )


def _shared(
    fields: dict[str, Any], origin: tuple[Any, ...], port: Port
) -> tuple[Shape, tuple[Any, ...], tuple[Any, ...]]:
    """Return a record's shape and origin, which it shares with others, and its values.

    Most have the same origin as the record before of their line; to keep that one takes
    a third off the memory of a record that waits.
    """
    line = origin[_LINE]
    try:
        count, shape, before = port.guesses[line]
        if count != len(fields):
            shape = port.shapes.of(fields, origin)
        elif before == origin:
            origin = before
        else:
            port.guesses[line] = count, shape, origin
        return shape, origin, shape.pick(fields)
    # A new line; as many keys, but others; or a field that cannot be compared, which
    # must not stay: no record of a line with this number would be whole any more.
    except Exception:  # noqa: BLE001 - see above
        shape = port.shapes.of(fields, origin)
        return shape, origin, shape.pick(fields)


def _text_of(
    record: logging.LogRecord, text_of: Format | None
) -> tuple[str | dict[str, Value], dict[str, Any]]:
    """Return the text and the fields of a record that is not the usual one."""
    # An event that structlog wrapped becomes a record; any other stays as it is.
    event = unwrapped(record, record.__dict__.copy())
    fields = event.__dict__
    if type(fields["levelno"]) is not int:
        fields = mended(event).__dict__
    if text_of is not None:
        try:
            return _text_or_mapping(text_of(record)), fields
        except Exception as error:  # noqa: BLE001 - the record is worth more
            return f"{formatted(event)} [{describe(record, error)}]", fields
    logged: object = event.msg
    if issubclass(type(logged), dict) and not event.args:
        return _text_or_mapping(event.msg), fields
    return str.__str__(event.getMessage()), fields


def _salvage(
    record: logging.LogRecord, error: Exception, port: Port, text_of: Format | None
) -> Whole:
    """Capture a record whose fields no LogRecord has, or what can be of it."""
    with second_look() as first:
        text = unformatted(record)
        if first:
            with contextlib.suppress(Exception):  # what the first one said counts
                event = unwrapped(record, record.__dict__.copy())
                whole = mended(event)
                origin = _origin_fields(whole.__dict__)
                return _capture(whole, origin, port, text_of)
            text = formatted(record)
        message = f"{text} [{describe(record, error)}]"
        message = cut(message, port.limits.body_bytes)
        port.last_ns = now = max(time.time_ns(), port.last_ns + 1)
        return bare(
            port.next_sequence(),
            now,
            message,
            origin=[getattr(record, name, None) for name in ORIGIN_FIELDS[:3]],
            size=RECORD_BYTES + len(message),
        )


def _text_or_mapping(logged: object) -> str | dict[str, Value]:
    copy = snapshot(logged)
    return copy if isinstance(copy, str | dict) else shown(logged)


def _rare(
    fields: Mapping[str, Any], shape: Shape, size: int
) -> tuple[dict[str, Any] | None, Parts | None, int]:
    """Return what few records have, special keys and an exception, and the new size."""
    special = error = None
    if fields["exc_info"]:
        error, error_size = _exception(fields["exc_info"])
        size += error_size
    if shape.special or fields["stack_info"]:
        special, size = _special(fields, shape, size)
    return special, error, size


def _special(
    fields: Mapping[str, Any], shape: Shape, size: int
) -> tuple[dict[str, Any], int]:
    """Return the values of special keys, the stack, and the new size."""
    special: dict[str, Any] = {}
    for key in shape.special:
        value = fields[key]
        special[key] = kept = value if type(value) in _KEPT else snapshot(value)
        size += len(kept) if type(kept) is str else length(kept)
    if fields["stack_info"]:
        stack = fields["stack_info"]
        special["stack_info"] = stack = (
            stack if type(stack) is str else str(snapshot(stack))
        )
        size += len(stack)
    return special, size


def _exception(exc_info: object) -> tuple[Parts | None, int]:
    """Return what is to be known of an exception, and its size."""
    if exc_info is True:  # a LogRecord made by hand; Logger resolves it
        exc_info = sys.exc_info()
    # By the types alone: a mock of an exception says of itself that it is one.
    kind = type(exc_info)
    if kind is tuple or issubclass(kind, tuple):  # as Logger has it
        parts = cast("tuple[Any, ...]", exc_info)
        if len(parts) == 3 and issubclass(type(parts[1]), BaseException):
            return capture_exception(parts[1], parts[2])
    elif issubclass(kind, BaseException):
        error = cast("BaseException", exc_info)
        return capture_exception(error, error.__traceback__)
    return None, 0
