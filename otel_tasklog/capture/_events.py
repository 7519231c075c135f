"""structlog's event dict in a ``LogRecord``, without importing structlog.

structlog hands an event over in one of two ways: through ``logging``, wrapped by
``ProcessorFormatter.wrap_for_formatter`` (`unwrapped`), or straight to our processor
(``structlog.py``). Both `fill` a record, and the handler takes it from there.

The rule of `fill`: nothing that the application says is lost, and nothing that the
record says itself is said twice. A key that structlog's processors add is left out
where its value is the record's own, and is an attribute where it is not: not every
``level`` is a log level.
"""

from __future__ import annotations

import logging
import re
import sys
from datetime import UTC, datetime
from types import NoneType, TracebackType
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from opentelemetry.trace import format_span_id, format_trace_id, get_current_span

from otel_tasklog.capture._shape import free_name
from otel_tasklog.capture._stamp import STAMP, Stamp
from otel_tasklog.capture._tasks import current_scope
from otel_tasklog.capture._values import shown, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

__all__ = ["fill", "level_of_method", "span_ids", "unwrapped"]

Fields: TypeAlias = "dict[str, Any]"
ExcInfo: TypeAlias = (
    "tuple[type[BaseException] | None, BaseException | None, TracebackType | None]"
)

_LEVELS: Final[Mapping[str, int]] = {
    "critical": 50, "fatal": 50, "exception": 40, "error": 40, "err": 40,
    "warning": 30, "warn": 30, "info": 20, "msg": 20, "debug": 10, "notset": 0,
}  # fmt: skip
# What add_logger_name, add_log_level_number and CallsiteParameterAdder add, and the
# field of a record that says the same.
_REPEATED: Final[Mapping[str, str]] = {
    "logger": "name", "level_number": "levelno", "pathname": "pathname",
    "filename": "filename", "module": "module", "func_name": "funcName",
    "lineno": "lineno", "thread": "thread", "thread_name": "threadName",
    "process": "process", "process_name": "processName",
}  # fmt: skip
_SAME_TIME_SECONDS: Final = 2.0  # a TimeStamper may round to a second
_NO_EXCEPTION: Final[ExcInfo] = (None, None, None)
_PARTS: Final = ((type, NoneType), (BaseException, NoneType), (TracebackType, NoneType))
_STACK: Final = "Stack (most recent call last):"
_CHAINED: Final = re.compile(
    "\n\nThe above exception was the direct cause of the following exception:\n\n"
    "|\n\nDuring handling of the above exception, another exception occurred:\n\n"
)
_TRACEBACK: Final = re.compile(
    r"Traceback \(most recent call last\):\n(?: .*\n)+([\w.<>]+)(?:: ((?s:.*)))?"
)


def level_of_method(name: str) -> int:
    """Return the level of ``logging`` for one of structlog's log methods.

    A method that neither structlog nor ``logging`` has a level for is INFO.
    """
    known = _LEVELS.get(name)
    if known is not None:
        return known
    return logging.getLevelNamesMapping().get(name.upper(), logging.INFO)


def span_ids() -> dict[str, str]:
    """Return ``trace_id`` and ``span_id`` of the active span in hexadecimal, if any."""
    span = get_current_span().get_span_context()
    if not span.is_valid:
        return {}
    return {
        "trace_id": format_trace_id(span.trace_id),
        "span_id": format_span_id(span.span_id),
    }


def unwrapped(record: logging.LogRecord, fields: Fields) -> logging.LogRecord:
    """Return a record with the event that structlog wrapped, or *record* itself.

    *record* stays as it is: a ``ProcessorFormatter`` reads it.

    Args:
        record: As it was logged.
        fields: A copy of its fields; of a wrapped one they become those returned.
    """
    event: object = fields.get("msg")
    if "_name" not in fields or not isinstance(event, dict):
        return record
    del fields["_name"]
    fields.pop("_logger", None)
    fill(fields, event)  # pyright: ignore[reportUnknownArgumentType]
    plain = logging.LogRecord.__new__(logging.LogRecord)
    plain.__dict__ = fields
    return plain


def fill(fields: Fields, event: Mapping[Any, Any]) -> None:
    """Write an event into a record's fields. Raises for nothing that it may hold.

    Args:
        fields: Of a ``LogRecord``.
        event: structlog's event dict; not changed.
    """
    fields["msg"], fields["args"] = "", None
    for key, value in event.items():
        take = _TAKE.get(key) if type(key) is str else None
        if take is None or not take(fields, key, value):
            fields[free_name(key if type(key) is str else _as_text(key))] = value


def _as_text(key: object) -> str:
    name = snapshot(key)
    return name if type(name) is str else shown(name)


# Below: each takes the value of a key to where it belongs in the record, or leaves
# it out, and returns True; or returns False, and it becomes an attribute.


def _take_event(fields: Fields, _: str, value: object) -> bool:
    fields["msg"] = value
    return True


def _take_arguments(fields: Fields, _: str, value: object) -> bool:
    if type(value) is not tuple:
        return False
    args = cast("tuple[object, ...]", value)
    # As LogRecord does it, for "%(name)s".
    named = len(args) == 1 and type(args[0]) is dict and args[0] != {}
    fields["args"] = args[0] if named else args
    return True


def _take_exception(fields: Fields, _: str, value: object) -> bool:
    found = _exc_info(value)
    if found is None:
        return False
    if found[1] is not None:
        fields["exc_info"] = found
    return True


def _exc_info(value: object) -> ExcInfo | None:
    """Return the exception that a value stands for; None for what stands for none."""
    if value is None or type(value) in {bool, int}:
        return sys.exc_info() if value else _NO_EXCEPTION
    # By the type alone: isinstance() may run code of a proxy's.
    if issubclass(type(value), BaseException):
        error = cast("BaseException", value)
        return type(error), error, error.__traceback__
    if type(value) is tuple:
        parts = cast("tuple[object, ...]", value)
        if len(parts) == 3 and all(map(issubclass, map(type, parts), _PARTS)):
            return cast("ExcInfo", parts)
    return None


def _take_rendered_exception(fields: Fields, _: str, value: object) -> bool:
    """Take what format_exc_info has made of an exception."""
    if type(value) is not str or "Traceback (most recent call last):\n" not in value:
        return False
    last = _TRACEBACK.fullmatch(_CHAINED.split(value)[-1])
    if last is None:
        return False
    live = (_exc_info(fields["exc_info"]) or _NO_EXCEPTION)[1]
    # Logger.exception sees for itself what was rendered before.
    if live is None or not last[1].endswith(type(live).__qualname__):
        stamp = fields.get(STAMP)
        stamp = stamp if isinstance(stamp, Stamp) else Stamp()
        fields[STAMP] = stamp._replace(exception=(last[1], last[2] or "", value))
    return True


def _take_stack(fields: Fields, _: str, value: object) -> bool:
    if type(value) is str and value.startswith(_STACK):
        fields["stack_info"] = value
        return True
    return False


def _take_stack_info(fields: Fields, key: str, value: object) -> bool:
    if value is not None and type(value) not in {bool, int}:
        return _take_stack(fields, key, value)
    if value:
        # The call came through structlog, so it is imported, and it alone knows the
        # stack of an asynchronous log method, which runs in another thread.
        from structlog.processors import StackInfoRenderer

        render = StackInfoRenderer(["otel_tasklog.capture", "logging"])
        fields["stack_info"] = render(None, "", {"stack_info": True})["stack"]
    return True


def _take_task_id(fields: Fields, _: str, value: object) -> bool:
    scope = current_scope.get()
    if value is None or scope is None or scope.task_id is None:
        return False
    if type(value) is not str or value != scope.task_id:
        fields["extra.task_id"] = value  # it is the scope that names the job
    return True


def _is_repeated(fields: Fields, key: str, value: object) -> bool:
    return type(value) in {str, int} and value == fields.get(_REPEATED[key])


def _is_level(fields: Fields, _: str, value: object) -> bool:
    return type(value) is str and _LEVELS.get(value.lower()) == fields["levelno"]


def _is_span_id(_: Fields, key: str, value: object) -> bool:
    return type(value) is str and value == span_ids().get(key)


def _is_time(fields: Fields, _: str, value: object) -> bool:
    created: float = fields["created"]
    if type(value) is float:
        return abs(value - created) < _SAME_TIME_SECONDS
    if type(value) is not str:
        return False
    try:
        when = datetime.fromisoformat(value)
        # Of a naive one nobody can tell if it is local time.
        readings = (when, when.replace(tzinfo=UTC)) if when.tzinfo is None else (when,)
        return any(abs(r.timestamp() - created) < _SAME_TIME_SECONDS for r in readings)
    except (ValueError, OverflowError, OSError):
        return False


_TAKE: Final[Mapping[object, Callable[[Fields, str, object], bool]]] = {
    **dict.fromkeys(_REPEATED, _is_repeated),
    "event": _take_event,
    "positional_args": _take_arguments,
    "exc_info": _take_exception,
    "exception": _take_rendered_exception,
    "stack": _take_stack,
    "stack_info": _take_stack_info,
    "task_id": _take_task_id,
    "level": _is_level,
    "timestamp": _is_time,
    "trace_id": _is_span_id,
    "span_id": _is_span_id,
}
