"""What the call does with a record that is not the usual one.

Its fields are wrong or missing, its values can change, or are large. None of it is
needed for a text with atoms as extras, which most records are.
"""

from __future__ import annotations

import contextlib
import datetime
import logging
import time
from threading import get_ident
from typing import TYPE_CHECKING, Any, Final

from otel_tasklog.capture._names import CREATED
from otel_tasklog.capture._plain import named
from otel_tasklog.capture._sizes import RECORD_BYTES, length
from otel_tasklog.capture._stamp import STAMP
from otel_tasklog.capture._values import Value, cut, shown, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Generator

    from otel_tasklog.capture._clean import Limits

__all__ = ["copied", "formatted", "mended", "second_look", "timed", "unformatted"]

_OLDEST_NS: Final = 45 * 60 * 10**9
_NEWEST_NS: Final = 5 * 60 * 10**9
_CREATED_CHARACTERS: Final = 100
_YEAR_2262: Final = 2**63 / 1e9
# A class of the application may have another idea of its own.
_fields: Final[Callable[[logging.LogRecord], dict[str, Any]]] = (
    logging.LogRecord.__dict__["__dict__"].__get__
)
_looking: Final[set[int]] = set()
_BLANK: Final = logging.LogRecord("", 0, "", 0, "", None, None).__dict__


def timed(
    fields: dict[str, Any], created_ns: int, last_ns: int
) -> tuple[int, dict[str, Any]]:
    """Return a record's time if it can be, else the clock's, and its fields.

    Loki refuses what is ten minutes ahead of its clock, or an hour behind the newest
    record of the stream.
    """
    now_ns = time.time_ns()
    if now_ns - _OLDEST_NS < created_ns < now_ns + _NEWEST_NS:
        return created_ns, fields
    if now_ns <= last_ns < now_ns + 1_000_000:  # as of any other record
        now_ns = last_ns + 1
    return now_ns, {**fields, CREATED: _moment(fields["created"])}


def _moment(created: float) -> str:
    try:
        return datetime.datetime.fromtimestamp(created, datetime.UTC).isoformat()
    except (ValueError, OverflowError, OSError):  # beyond the year 9999
        return repr(created)


def mended(record: logging.LogRecord) -> logging.LogRecord:
    """Return a plain record that has all the fields, of the types they should have."""
    fields = {**_BLANK, **_fields(record)}
    if not issubclass(type(fields["msg"]), dict) or fields["args"]:
        fields["msg"], fields["args"] = formatted(record), None
    else:
        fields["msg"] = snapshot(fields["msg"])
    for name in fields.keys() - _BLANK.keys() - {STAMP}:
        fields[name] = snapshot(fields[name])
    for name, blank in _BLANK.items():
        if type(blank) is str and type(fields[name]) is not str and name != "msg":
            fields[name] = "" if fields[name] is None else named(fields[name])
        elif type(blank) is int and type(fields[name]) is not int:
            number = snapshot(fields[name])  # a bool and others of its kind are one
            fields[name] = int(number) if isinstance(number, int) else 0
    failure = fields["exc_info"]  # of which not even the truth can be asked
    if issubclass(type(failure), BaseException):
        fields["exc_info"] = type(failure), failure, failure.__traceback__
    elif type(failure) is not tuple and failure is not True:
        fields["exc_info"] = None
    if type(fields["stack_info"]) not in {str, type(None)}:
        fields["stack_info"] = str(snapshot(fields["stack_info"]))
    created = fields["created"]
    if type(created) is not float or not abs(created) < _YEAR_2262:
        fields["created"] = time.time()
        fields[CREATED] = cut(shown(created), _CREATED_CHARACTERS)
    whole = logging.LogRecord.__new__(logging.LogRecord)
    whole.__dict__ = fields
    return whole


@contextlib.contextmanager
def second_look() -> Generator[bool]:
    """Say whether values that raised may be asked again, which is once a thread.

    They may log on their part, and come to the same place: asked twice each time, a
    ``__str__`` that logs itself and raises would be asked without end.
    """
    ident = get_ident()
    first = ident not in _looking
    _looking.add(ident)
    try:
        yield first
    finally:
        if first:
            _looking.discard(ident)


def formatted(record: logging.LogRecord) -> str:
    """Return the text of a record, its arguments filled in, whatever they are."""
    try:
        return str.__str__(record.getMessage())
    except Exception as error:  # noqa: BLE001 - the record is worth more
        fields = {**_BLANK, **_fields(record)}
        template, args = snapshot(fields["msg"]), snapshot(fields["args"])
        args_text = shown(args)
        if type(args) is tuple and len(args) > 1:
            # One that cannot be shown costs no other.
            args_text = f"({', '.join(map(shown, args))})"
        return (
            f"{shown(template)} {args_text} [{type(error).__name__} while formatting]"
        )


def unformatted(record: logging.LogRecord) -> str:
    """Return the text of a record without its arguments, if it is one."""
    template: object = _fields(record).get("msg")
    return template if type(template) is str else ""


def copied(
    message: str | dict[str, Value], values: tuple[Any, ...], limits: Limits
) -> tuple[str | dict[str, Value], tuple[Value, ...], int]:
    """Copy what could change, cut what is large; return it with the record's size."""
    if type(message) is str:
        message = cut(message, limits.body_bytes)
    copies = tuple([_copy(value, limits.value_characters) for value in values])
    return message, copies, RECORD_BYTES + length(message) + length(copies)


def _copy(value: object, characters: int) -> Value:
    copy = snapshot(value)
    if type(copy) is str:
        return cut(copy, characters)
    if type(copy) is bytes:
        return copy[:characters]
    return copy
