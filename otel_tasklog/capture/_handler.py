"""The log call: a ``logging.LogRecord`` becomes a `Captured`, on the caller's thread.

What must be taken now, because it will be gone or changed later: the fields (other
handlers' formatters edit levelname, msg and args in place), the running task, the
scope, the trace context, the texts and offsets of an exception. All else waits for
the worker.

Guarantees, whatever the record holds and wherever the call comes from (a signal
handler, ``__del__``, a filter that logs, a loop callback, any thread):

* It takes no lock. ``Handler.handle`` does, so it is overridden. Under four threads
  the stock lock costs three times what all of the capture does.
* It does no I/O and never waits.
* It never raises, but lets a ``BaseException`` such as ``KeyboardInterrupt`` pass.
"""

from __future__ import annotations

import logging
import sys
import time
from asyncio import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    current_task,
)
from itertools import islice
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from opentelemetry.context import get_current

from otel_tasklog.capture._exceptions import CapturedException, capture_exception
from otel_tasklog.capture._record import RECORD_BYTES
from otel_tasklog.capture._resolve import STANDARD_FIELDS, blank_fields
from otel_tasklog.capture._tasks import current_scope, number_task
from otel_tasklog.capture._values import (
    ATOMS,
    BODY_CHARACTERS,
    VALUE_CHARACTERS,
    cut,
    describe,
    shown,
    snapshot,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._port import Port
    from otel_tasklog.capture._record import Captured
    from otel_tasklog.capture._tasks import TaskCell
    from otel_tasklog.capture._values import Value

__all__ = ["TaskLogHandler"]

LARGE_CHARACTERS: Final = 8_192
"""Above this a record is formatted and cut in the call, so that nobody's 10 MB
string is kept for a line of log."""

_OURS: Final = ("otel_tasklog", "opentelemetry")
SMALL_ATOMS: Final = ATOMS - {str, bytes}
_STANDARD_NAMES: Final = tuple(logging.makeLogRecord({}).__dict__)
_NO_TIME_BEFORE: Final = 1_000_000
"""Nanoseconds by which a clock may step back before its time is believed."""


class TaskLogHandler(logging.Handler):
    """Captures every record that reaches it, for a `TaskLog`.

    `install` makes and attaches one. Made by hand, it feeds the installed TaskLog;
    before there is one, its records go nowhere, which is said once.

    Levels, filters and a formatter work as on any handler; the text of a
    formatter that was set becomes the record's body. ``flush()`` asks for delivery
    and returns at once, and ``close()`` only strikes the handler off ``logging``'s
    books: ``logging.config`` calls both under its lock.

    Args:
        level: Records below it are not captured.
    """

    def __init__(self, level: int | str = logging.NOTSET) -> None:
        super().__init__(level)
        self._port: Port | None = None
        self._hinted = False

    def connect(self, port: Port | None) -> None:
        """Feed another TaskLog from now on, or none."""
        self._port = port
        if port is not None:
            port.handlers.add(self)

    def _find_port(self) -> Port | None:
        # Upwards, against the layers: DESIGN allows it for exactly this.
        from otel_tasklog._install import installed_port

        self.connect(installed_port())
        if self._port is None and not self._hinted:
            self._hinted = True
            logging.getLogger("otel_tasklog").warning(
                "a TaskLogHandler has records but no TaskLog; "
                "call otel_tasklog.install() first"
            )
        return self._port

    def handle(self, record: logging.LogRecord) -> bool:
        """Capture a record, if the filters let it pass. Never raises or waits.

        Returns:
            Whether it passed the filters.
        """
        try:
            if self.filters:
                passed: object = self.filter(record)
                if not passed:
                    return False
                # From Python 3.12, where a filter may return another record.
                if isinstance(passed, logging.LogRecord):  # pyright: ignore[reportUnnecessaryIsInstance]
                    record = passed
            port = self._port or self._find_port()
            # The thread is None where logging.logThreads is off.
            if port is None:
                return True
            ident = record.thread or get_ident()
            # The collector may run on the worker too, and asyncio's "exception was
            # never retrieved", or any __del__, says there what is not ours.
            if ident in port.own_threads and (
                ident != port.worker_thread or record.name.startswith(_OURS)
            ):
                return True
            try:
                captured = self._capture(record, port)
            except Exception as error:  # noqa: BLE001 - keep what can be kept
                captured = _salvage(record, error, port)
            port.accept(captured)
        except Exception:  # noqa: BLE001 - a filter's, or none that is known
            self.handleError(record)
        return True

    def _capture(self, record: logging.LogRecord, port: Port) -> Captured:
        # A copy of all fields costs half of what reading a dozen of them does,
        # and stays as it is whatever the handlers after this one do.
        fields = record.__dict__.copy()
        if type(record) is not logging.LogRecord:
            fields = _in_standard_order(fields)
        if type(fields["levelno"]) is not int:
            fields["levelno"] = _int(fields["levelno"])
        size = self._make_safe(record, fields)

        timestamp_ns = int(fields["created"] * 1e9)
        # Loki keeps one of two entries with equal time and text. No call stands
        # between this read and write, so no thread can either.
        last = port.last_ns
        if timestamp_ns <= last and last - timestamp_ns < _NO_TIME_BEFORE:
            timestamp_ns = last + 1
        port.last_ns = timestamp_ns

        cell: TaskCell | None = None
        name: str | None = None
        loop = _get_running_loop()
        task = current_task(loop) if loop is not None else None
        if task is not None:
            try:
                cell = task.otel_tasklog_cell  # type: ignore[attr-defined]
            except AttributeError:
                cell = number_task(task)
            name = task.get_name()

        error: CapturedException | None = None
        if fields["exc_info"]:
            error = _exception(fields["exc_info"])
            fields["exc_info"] = fields["exc_text"] = None
            if error is not None:
                size += len(error.text) + 50 * len(error.frames)
        return (  # pyright: ignore[reportUnknownVariableType] - the attribute is ours
            port.next_sequence(),
            timestamp_ns,
            fields,
            cell,
            name,
            current_scope.get(),
            get_current() or None,
            error,
            size,
        )

    def _make_safe(  # noqa: C901 - a function for each loop costs more than the loop
        self, record: logging.LogRecord, fields: dict[str, Any]
    ) -> int:
        """Replace in *fields* what could change or is large; return the size.

        In the usual record, a text with atoms as arguments and extras, nothing is
        replaced, and only the lengths of the texts are taken.
        """
        message = fields["msg"]
        args: tuple[object, ...] | Mapping[str, object] | None = fields["args"]
        safe = type(message) is str and self.formatter is None
        size = RECORD_BYTES + len(message) if safe else RECORD_BYTES
        if type(args) is tuple:
            for value in args:
                if type(value) is str:
                    size += len(value)
                elif type(value) not in ATOMS:
                    safe = False
        elif args:
            safe = False
        extras = len(fields) - STANDARD_FIELDS
        if extras > 0:
            odd = False
            # They stand behind the standard fields; from the end is quicker.
            for value in islice(reversed(fields.values()), extras):
                if type(value) is str:
                    size += len(value)
                elif type(value) not in SMALL_ATOMS:
                    odd = True
            if odd:
                size += _copy_extras(fields, extras)
        if not safe:
            size += self._format_now(record, fields)
        if size > RECORD_BYTES + LARGE_CHARACTERS:
            size = _cut_now(fields, extras)
        return size

    def _format_now(self, record: logging.LogRecord, fields: dict[str, Any]) -> int:
        message: Value = record.msg
        if self.formatter is not None:
            message = self.format(record)
        elif isinstance(record.msg, dict) and not record.args:
            message = snapshot(message)
        else:
            message = _formatted(record)
        fields["msg"] = message
        fields["args"] = None
        return _length(message)

    def emit(self, record: logging.LogRecord) -> None:
        """Do as `handle`, for callers that call the older of the two."""
        self.handle(record)

    def flush(self) -> None:
        """Wake the delivery. Returns at once; `TaskLog.flush` waits."""
        if self._port is not None:
            self._port.wake()


def _salvage(record: logging.LogRecord, error: Exception, port: Port) -> Captured:
    """Keep what can be kept of a record whose fields no LogRecord has."""
    whole = blank_fields()
    whole["msg"] = f"{_formatted(record)} [{describe(record, error)}]"
    for name, kind in (("name", str), ("levelno", int), ("levelname", str)):
        value = getattr(record, name, None)
        if isinstance(value, kind):
            whole[name] = value
    size = RECORD_BYTES + len(whole["msg"])
    port.last_ns = now = max(time.time_ns(), port.last_ns + 1)
    return port.next_sequence(), now, whole, None, None, None, None, None, size


def _in_standard_order(fields: dict[str, Any]) -> dict[str, Any]:
    """Put the standard fields first, which a LogRecord subclass may not have done."""
    standard = {name: fields.pop(name, None) for name in _STANDARD_NAMES}
    return {**standard, **fields}


def _int(value: object) -> int:
    return int(value) if isinstance(value, int) else 0


def _exception(exc_info: object) -> CapturedException | None:
    if exc_info is True:  # a LogRecord made by hand; Logger resolves it
        exc_info = sys.exc_info()
    if isinstance(exc_info, BaseException):
        return capture_exception(exc_info, exc_info.__traceback__)
    if isinstance(exc_info, tuple) and isinstance(exc_info[1], BaseException):
        return capture_exception(exc_info[1], exc_info[2])  # pyright: ignore[reportUnknownArgumentType]
    return None


def _formatted(record: logging.LogRecord) -> str:
    try:
        return cut(record.getMessage(), BODY_CHARACTERS)
    except Exception as error:  # noqa: BLE001 - the record is worth more
        template, args = snapshot(record.msg), snapshot(record.args)
        return (
            f"{shown(template)} {shown(args)} [{type(error).__name__} while formatting]"
        )


def _copy_extras(fields: dict[str, Any], count: int) -> int:
    """Copy what could change, and return the size of all but the texts."""
    size = 0
    for key, value in list(islice(reversed(fields.items()), count)):
        if type(value) not in ATOMS:
            fields[key] = snapshot(value)
        if type(value) is not str:
            size += _length(fields[key])
    return size


def _length(value: Value) -> int:
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, tuple):
        return 56 + sum(8 + _length(item) for item in value)
    if isinstance(value, dict):
        return 64 + sum(50 + len(k) + _length(v) for k, v in value.items())
    return 32


def _cut_now(fields: dict[str, Any], extras: int) -> int:
    message, args = fields["msg"], fields["args"]
    if args:
        try:
            message = message % args
        except Exception:  # noqa: BLE001 - shown as it would be by the worker
            message = f"{message} {shown(args)}"
    if type(message) is str:
        message = cut(message, BODY_CHARACTERS)
    fields["msg"], fields["args"] = message, None
    size = RECORD_BYTES + _length(message)
    for key, value in list(islice(reversed(fields.items()), max(extras, 0))):
        if type(value) is str:
            fields[key] = cut(value, VALUE_CHARACTERS)
        elif type(value) is bytes:
            fields[key] = value[:VALUE_CHARACTERS]
        size += _length(fields[key])
    return size
