"""What the call does with a record that is not the usual one.

Its fields are wrong or missing, its values can change, or are large. None of it is
needed for a text with atoms as extras, which most records are.
"""

from __future__ import annotations

import logging
import time
from typing import Any, Final

from otel_tasklog.capture._record import RECORD_BYTES
from otel_tasklog.capture._values import (
    BODY_CHARACTERS,
    VALUE_CHARACTERS,
    Value,
    cut,
    shown,
    snapshot,
)

__all__ = ["copied", "formatted", "length", "mended"]

_BLANK: Final = logging.LogRecord("", 0, "", 0, "", None, None).__dict__
_YEAR_2262: Final = 2**63 / 1e9


def mended(record: logging.LogRecord) -> logging.LogRecord:
    """Return a plain record that has all the fields, of the types they should have."""
    fields = {**_BLANK, **record.__dict__}
    for name, blank in _BLANK.items():
        if type(blank) is str and type(fields[name]) is not str and name != "msg":
            fields[name] = "" if fields[name] is None else shown(fields[name])
        elif type(blank) is int and type(fields[name]) is not int:
            fields[name] = int(fields[name]) if isinstance(fields[name], int) else 0
    created = fields["created"]
    if type(created) is not float or not 0 < created < _YEAR_2262:
        fields["created"] = time.time()
    whole = logging.LogRecord.__new__(logging.LogRecord)
    whole.__dict__ = fields
    return whole


def formatted(record: logging.LogRecord) -> str:
    """Return the text of a record, its arguments filled in, whatever they are."""
    try:
        return cut(record.getMessage(), BODY_CHARACTERS)
    except Exception as error:  # noqa: BLE001 - the record is worth more
        template, args = snapshot(record.msg), snapshot(record.args)
        return (
            f"{shown(template)} {shown(args)} [{type(error).__name__} while formatting]"
        )


def length(value: Value) -> int:
    """Return the bytes that a value takes, estimated."""
    if isinstance(value, str | bytes):
        return len(value)
    if isinstance(value, tuple):
        return 56 + sum(8 + length(item) for item in value)
    if isinstance(value, dict):
        return 64 + sum(50 + len(k) + length(v) for k, v in value.items())
    return 32


def copied(
    message: str | dict[str, Value], values: tuple[Any, ...]
) -> tuple[str | dict[str, Value], tuple[Value, ...], int]:
    """Copy what could change, cut what is large; return it with the record's size."""
    if type(message) is str:
        message = cut(message, BODY_CHARACTERS)
    copies = tuple([_copy(value) for value in values])
    return message, copies, RECORD_BYTES + length(message) + length(copies)


def _copy(value: object) -> Value:
    copy = snapshot(value)
    if type(copy) is str:
        return cut(copy, VALUE_CHARACTERS)
    if type(copy) is bytes:
        return copy[:VALUE_CHARACTERS]
    return copy
