"""Times, levels, and fields that somebody has tampered with."""

from __future__ import annotations

import logging
import math
import time
from typing import TYPE_CHECKING, Any, Final

from e2e.odd_values.case import (
    NOTHING,
    Case,
    at,
    body,
    logger,
    severity,
    show,
    timestamp,
)
from e2e.odd_values.objects import Saying
from e2e.odd_values.texts import made_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.odd_values.case import Look, Seen

__all__ = ["FIELDS", "LEVELS", "TIMES", "as_a_listener"]


def created(name: str, value: Callable[[], object], becomes: str) -> Case:
    return Case(name, made_of(lambda: {"created": value()}), becomes, timestamp)


_HOUR: Final = 3600.0
_YEAR: Final = 8766 * _HOUR

TIMES: Final = (
    created("`created`: half an hour ago", lambda: time.time() - _HOUR / 2, "0.5 hours ago"),
    created("two hours ago", lambda: time.time() - 2 * _HOUR, "the clock's time, 2.0 hours ago"),
    created("ten years ago", lambda: time.time() - 10 * _YEAR, "the clock's time, 10 years ago"),
    created("in two hours", lambda: time.time() + 2 * _HOUR, "the clock's time, 2.0 hours from now"),
    created("in the year 3000", lambda: 3.25e10, "the clock's time, 2999-11-19"),
    created("`0`", lambda: 0, "the clock's time, 1970-01-01"),
    created("`-1.0`", lambda: -1.0, "the clock's time, 1969-12-31"),
    created("`nan`", lambda: math.nan, 'the clock\'s time, "nan"'),
    created("`inf`", lambda: math.inf, 'the clock\'s time, "inf"'),
    created("`1e300`", lambda: 1e300, 'the clock\'s time, "1e+300"'),
    created("`10**400`", lambda: 10**400, 'the clock\'s time, "100000000000…00000000000000… [341 characters cut]", 82 characters'),
    created("`'yesterday'`", lambda: "yesterday", "the clock's time, \"'yesterday'\""),
    created("`None`", lambda: None, 'the clock\'s time, "None"'),
)  # fmt: skip


def as_a_listener(
    change: Callable[[dict[str, Any]], object],
) -> Callable[[logging.Logger], None]:
    """Return what hands a changed record to the handlers, as a queue's listener does.

    ``logging`` itself compares the level before that.
    """

    def log(logger: logging.Logger) -> None:
        record = logging.LogRecord("odd", logging.INFO, "odd.py", 1, "odd", (), None)
        change(record.__dict__)
        for handler in logger.handlers:
            handler.handle(record)

    return log


def level(name: str, number: object, becomes: str, *, text: object = "ODD") -> Case:
    fields = {"levelno": number, "levelname": text}
    log = as_a_listener(lambda record: record.update(fields))
    return Case(name, log, becomes, severity)


def _log_named(log: logging.Logger) -> None:
    logging.addLevelName(27, "NOTICE")
    log.log(27, "odd")


LEVELS: Final = (
    level("level 0", 0, '"NOTSET", 0', text="NOTSET"),
    Case("5", lambda log: log.log(5, "odd"), '"Level 5", 1', severity),
    Case("35", lambda log: log.log(35, "odd"), '"Level 35", 16', severity),
    Case("60", lambda log: log.log(60, "odd"), '"Level 60", 24', severity),
    Case("27, named `NOTICE`", _log_named, '"NOTICE", 12', severity),
    level("-5", -5, '"ODD", 0'),
    level("`10**30`", 10**30, '"ODD", 24'),
    level("`True`", True, '"ODD", 1'),  # noqa: FBT003
    level("`20.5`", 20.5, '"ODD", 0'),
    level("`'INFO'`", "INFO", '"ODD", 0'),
    level("`nan`", math.nan, '"ODD", 0'),
    level("a name that is `5`", 20, '"5", 9', text=5),
    level("a name with a lone surrogate", 20, r'"a\\ud800", 9', text="a\ud800"),
)


def _exception_type(seen: Seen) -> str:
    return show(seen.attributes.get("exception.type"))


_ODD: Final = '"odd"'
_OBJECT: Final = Saying(lambda: "an object")

# A field, what it shows in, and what that is if the field is None, an object, deleted.
_TAMPERED: Final[dict[str, tuple[Look, str, str, str]]] = {
    "name": (logger, '""', '"an object"', '""'),
    "msg": (
        body, '"None"', '"an object"', "\"'' () [AttributeError while formatting]\"",
    ),
    "args": (
        body, _ODD, "\"'odd' 'an object' [TypeError while formatting]\"",
        "\"'odd' None [AttributeError while formatting]\"",
    ),
    "levelname": (severity, '"", 9', '"an object", 9', '"NOTSET", 9'),
    "levelno": (severity, '"INFO", 0', '"INFO", 0', '"INFO", 0'),
    "pathname": (at("code.file.path"), NOTHING, '"an object"', NOTHING),
    "filename": (body, _ODD, _ODD, _ODD),
    "module": (body, _ODD, _ODD, _ODD),
    "exc_info": (_exception_type, NOTHING, NOTHING, NOTHING),
    "exc_text": (body, _ODD, _ODD, _ODD),
    "stack_info": (at("code.stacktrace"), NOTHING, '"an object"', NOTHING),
    "lineno": (at("code.line.number"), NOTHING, NOTHING, NOTHING),
    "funcName": (at("code.function.name"), NOTHING, '"an object"', NOTHING),
    "created": (
        timestamp, 'the clock\'s time, "None"', 'the clock\'s time, "an object"',
        "the clock's time",
    ),
    "msecs": (body, _ODD, _ODD, _ODD),
    "relativeCreated": (body, _ODD, _ODD, _ODD),
    "thread": (body, _ODD, _ODD, _ODD),
    "threadName": (body, _ODD, _ODD, _ODD),
    "process": (body, _ODD, _ODD, _ODD),
    "processName": (body, _ODD, _ODD, _ODD),
}  # fmt: skip


def _tampered(field: str) -> list[Case]:
    look, none, other, deleted = _TAMPERED[field]
    changes: dict[str, tuple[Callable[[dict[str, Any]], object], str]] = {
        "is `None`": (lambda fields: fields.update({field: None}), none),
        "is an object": (lambda fields: fields.update({field: _OBJECT}), other),
        "is deleted": (lambda fields: fields.pop(field), deleted),
    }
    return [
        Case(f"`{field}` {how}", as_a_listener(change), becomes, look)
        for how, (change, becomes) in changes.items()
    ]


FIELDS: Final = (
    *[case for field in _TAMPERED for case in _tampered(field)],
    Case("all are deleted", as_a_listener(lambda fields: fields.clear()), "\"'' None [AttributeError while formatting]\"", body),
)  # fmt: skip
