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

import contextlib
import logging
import os
import sys
import time
import traceback
from asyncio import (
    _get_running_loop,  # pyright: ignore[reportPrivateUsage]
    current_task,
)
from math import trunc
from operator import itemgetter
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final, cast

from opentelemetry.context import get_current

from otel_tasklog._config import INCLUDED, Config, HandlerSettings, check_names
from otel_tasklog._text import marked
from otel_tasklog.capture._events import unwrapped
from otel_tasklog.capture._exceptions import CapturedException, capture_exception
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
    from typing import Unpack

    from otel_tasklog._settings import Include
    from otel_tasklog.capture._port import Port
    from otel_tasklog.capture._record import Captured
    from otel_tasklog.capture._shape import Shape
    from otel_tasklog.capture._values import Value

__all__ = ["TaskLogHandler"]

_OURS: Final = ("otel_tasklog", "opentelemetry")
SMALL_ATOMS: Final = ATOMS - {str, bytes}
_KEPT: Final = ATOMS | {Stamp}  # a stamp is of plain values that nobody changes
_PLAIN: Final = logging.LogRecord
_origin_fields: Final = itemgetter(*ORIGIN_FIELDS)
_scope: Final = current_scope.get
_NO_TIME_BEFORE: Final = 1_000_000
"""Nanoseconds by which a clock may step back before its time is believed."""
_BELIEVED: Final = 60_000_000_000
"""Nanoseconds by which a record may be later than the one before, unseen."""


class TaskLogHandler(logging.Handler):
    """Captures every record that reaches it, for a `TaskLog`.

    `install` makes and attaches one. One made by hand, or by a logging configuration,
    feeds the installed TaskLog. If there is none at its first record, it makes one of
    its options and the environment, as `install` would, and installs it; a handler
    that has fed a TaskLog makes none.

    Levels, filters and a formatter work as on any handler; the text of a
    formatter that was set becomes the record's body. ``flush()`` asks for delivery
    and returns at once, and ``close()`` only strikes the handler off ``logging``'s
    books: ``logging.config`` calls both under its lock.

    Args:
        level: Records below it are not captured.
        log_code_attributes: Whether ``include`` has ``"code"``, in the words of
            OpenTelemetry's ``LoggingHandler``, whose place this class can take.
        **options: The settings of `install`, but for ``level``, ``loggers`` and
            ``monitor``. They are ignored, which is said, if another TaskLog is there.

    Attributes:
        options: Those, until the handler has found a TaskLog or tried to make one.
        when_closed: Called by ``close()``, under ``logging``'s lock.

    Raises:
        ConfigError: An option, or a variable of the environment beside it, cannot
            have its value, or there is no such option.
    """

    def __init__(
        self,
        level: int | str = logging.NOTSET,
        *,
        log_code_attributes: bool | None = None,
        **options: Unpack[HandlerSettings],
    ) -> None:
        if log_code_attributes is not None:
            include: list[Include] = [*options.get("include", INCLUDED)]
            if "code" in include:
                include.remove("code")
            if log_code_attributes:
                include.append("code")
            options["include"] = include
        if options:  # now, so that a configuration fails rather than a record
            check_names(options, HandlerSettings.__annotations__)
            Config.from_env(os.environ, **options)
        self.options: HandlerSettings | None = options
        self.when_closed: Callable[[], None] = lambda: None
        self._port: Port | None = None
        super().__init__(level)  # last: from here on, another thread may close it

    def connect(self, port: Port | None) -> None:
        """Feed another TaskLog from now on, or none."""
        self._port = port
        if port is not None:
            self.options = None
            port.handlers.add(self)

    def _find_port(self, record: logging.LogRecord) -> Port | None:
        # Upwards, against the layers: DESIGN allows it for exactly this.
        from otel_tasklog._install import find_port

        return find_port(self, record)

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
            port = self._port or self._find_port(record)
            if port is None:
                return True
            try:
                # The thread is None where logging.logThreads is off.
                ident = record.thread or get_ident()
                # The collector may run on the worker too, and asyncio's "exception
                # was never retrieved", or any __del__, says there what is not ours.
                # Behind a queue, the thread may be another process's.
                if (
                    ident in port.own_threads
                    and (ident != port.worker_thread or record.name.startswith(_OURS))
                    and record.process in (None, os.getpid())
                ):
                    return True
                captured = self._capture(record, port)
            except Exception as error:  # noqa: BLE001 - keep what can be kept
                captured = self._salvage(record, error, port)
            port.accept(captured)
        except Exception:  # noqa: BLE001 - a filter's, or none that is known
            self.handleError(record)
        return True

    def _capture(self, record: logging.LogRecord, port: Port) -> Captured:
        fields: Mapping[str, Any] = record.__dict__
        # Filling the arguments in costs what looking whether they could change does,
        # and leaves one text to keep in place of them.
        message = fields["msg"]
        if (
            type(message) is not str
            or self.formatter is not None
            or type(record) is not _PLAIN  # may have a text of its own
            or type(fields["levelno"]) is not int
        ):
            message, fields = self._text_of(record)
        elif fields["args"]:
            message = message % fields["args"]
        now_ns, last_ns = trunc(fields["created"] * 1e9), port.last_ns
        # Loki keeps one of two entries with equal time and text. No call stands
        # between that read and this write, so no thread can either.
        behind = now_ns <= last_ns < now_ns + _NO_TIME_BEFORE
        port.last_ns = timestamp_ns = last_ns + 1 if behind else now_ns
        if not last_ns < timestamp_ns < last_ns + _BELIEVED:
            timestamp_ns, fields = timed(fields, now_ns, last_ns)
            port.last_ns = timestamp_ns
        try:
            count, shape = port.guesses[fields["lineno"]]
            if count != len(fields):
                shape = port.shapes.of(fields)
            values = shape.pick(fields)
        except KeyError:  # a new line, or as many keys, but others
            shape = port.shapes.of(fields)
            values = shape.pick(fields)
        # Before a number is drawn: one of the fields may be missing.
        origin, size = _origin_fields(fields), RECORD_BYTES + len(message)
        for value in values:
            if type(value) is str:
                size += len(value)
            elif type(value) not in SMALL_ATOMS:  # could change, or is large
                size = LARGE_BYTES
        if size >= LARGE_BYTES or type(message) is not str:
            message, values, size = copied(message, values, port.limits)

        cell = name = special = error = None
        loop = _get_running_loop()
        task = current_task(loop) if loop is not None else None
        if task is not None:
            cell = getattr(task, "otel_tasklog_cell", None) or number_task(task)
            name = task.get_name()
        if shape.special or fields["exc_info"] or fields["stack_info"]:
            special, error, size = _rare(fields, shape, size)
        return (
            port.next_sequence(),
            timestamp_ns,
            origin,
            message,
            shape,
            values,
            special,
            cell,
            name,
            _scope(),
            get_current() or None,
            error,
            size,
        )

    def _text_of(
        self, record: logging.LogRecord
    ) -> tuple[str | dict[str, Value], dict[str, Any]]:
        """Return the text and the fields of a record that is not the usual one."""
        # An event that structlog wrapped becomes a record; any other stays as it is.
        event = unwrapped(record, record.__dict__.copy())
        fields = event.__dict__
        if type(fields["levelno"]) is not int:
            fields = mended(event).__dict__
        if self.formatter is not None:
            try:
                return _text_or_mapping(self.format(record)), fields
            except Exception as error:  # noqa: BLE001 - the record is worth more
                return f"{formatted(event)} [{describe(record, error)}]", fields
        logged: object = event.msg
        if issubclass(type(logged), dict) and not event.args:
            return _text_or_mapping(event.msg), fields
        return str.__str__(event.getMessage()), fields

    def _salvage(
        self, record: logging.LogRecord, error: Exception, port: Port
    ) -> Captured:
        """Capture a record whose fields no LogRecord has, or what can be of it."""
        with second_look() as first:
            text = unformatted(record)
            if first:
                with contextlib.suppress(Exception):  # what the first one said counts
                    event = unwrapped(record, record.__dict__.copy())
                    return self._capture(mended(event), port)
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

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - its name
        """Show what an application's filter raised, as ``logging`` does, but harmless."""
        del record  # of which logging would print the arguments
        if logging.raiseExceptions:
            with contextlib.suppress(Exception):  # there may be no stderr
                clean = self._port.clean if self._port is not None else str
                text = clean(
                    f"--- Logging error ---\n{traceback.format_exc()}"
                ).rstrip()
                sys.stderr.write(f"{marked(text)}\n")

    def emit(self, record: logging.LogRecord) -> None:
        """Do as `handle`, for callers that call the older of the two."""
        self.handle(record)

    def flush(self) -> None:
        """Wake the delivery. Returns at once; `TaskLog.flush` waits."""
        if self._port is not None:
            self._port.wake()

    def close(self) -> None:
        """Strike it off ``logging``'s books. The TaskLog stays open."""
        super().close()
        self.when_closed()


def _text_or_mapping(logged: object) -> str | dict[str, Value]:
    copy = snapshot(logged)
    return copy if isinstance(copy, str | dict) else shown(logged)


def _rare(
    fields: Mapping[str, Any], shape: Shape, size: int
) -> tuple[dict[str, Any] | None, CapturedException | None, int]:
    """Return what few records have, special keys and an exception, and the new size."""
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
    error = _exception(fields["exc_info"]) if fields["exc_info"] else None
    if error is not None:
        size += error.size_bytes
    return special or None, error, size


def _exception(exc_info: object) -> CapturedException | None:
    if exc_info is True:  # a LogRecord made by hand; Logger resolves it
        exc_info = sys.exc_info()
    # By the types alone: a mock of an exception says of itself that it is one.
    if issubclass(type(exc_info), BaseException):
        error = cast("BaseException", exc_info)
        return capture_exception(error, error.__traceback__)
    if issubclass(type(exc_info), tuple):
        parts = cast("tuple[Any, ...]", exc_info)
        if len(parts) == 3 and issubclass(type(parts[1]), BaseException):
            return capture_exception(parts[1], parts[2])
    return None
