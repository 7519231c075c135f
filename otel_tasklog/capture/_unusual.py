"""What the call does with a record that is not the usual one.

Its fields are wrong or missing, its values can change, or are large. None of it is
needed for a text with atoms as extras, which most records are.
"""

from __future__ import annotations

import datetime
import logging
import time
from typing import TYPE_CHECKING, Any, Final

from otel_tasklog.capture._names import CREATED
from otel_tasklog.capture._sizes import RECORD_BYTES, length
from otel_tasklog.capture._stamp import STAMP
from otel_tasklog.capture._values import Value, cut, shown, snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tasklog.capture._clean import Limits

__all__ = ["copied", "formatted", "mended", "timed"]

_OLDEST_NS: Final = 45 * 60 * 10**9
_NEWEST_NS: Final = 5 * 60 * 10**9
_CREATED_CHARACTERS: Final = 100
_YEAR_2262: Final = 2**63 / 1e9
# A class of the application may have another idea of its own.
_fields: Final[Callable[[logging.LogRecord], dict[str, Any]]] = (
    logging.LogRecord.__dict__["__dict__"].__get__
)
_BLANK: Final = logging.LogRecord("", 0, "", 0, "", None, None).__dict__


def timed(
    fields: Mapping[str, Any], created_ns: int, last_ns: int
) -> tuple[int, Mapping[str, Any]]:
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
    for name in fields.keys() - _BLANK.keys() - {STAMP}:
        fields[name] = snapshot(fields[name])
    for name, blank in _BLANK.items():
        if type(blank) is str and type(fields[name]) is not str and name != "msg":
            fields[name] = "" if fields[name] is None else shown(fields[name])
        elif type(blank) is int and type(fields[name]) is not int:
            fields[name] = int(fields[name]) if isinstance(fields[name], int) else 0
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


def formatted(record: logging.LogRecord) -> str:
    """Return the text of a record, its arguments filled in, whatever they are."""
    try:
        return record.getMessage()
    except Exception as error:  # noqa: BLE001 - the record is worth more
        fields = {**_BLANK, **_fields(record)}
        template, args = snapshot(fields["msg"]), snapshot(fields["args"])
        return (
            f"{shown(template)} {shown(args)} [{type(error).__name__} while formatting]"
        )


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
