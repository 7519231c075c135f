"""Bodies, names and keys."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Any, Final

from e2e.odd_values.case import (
    Case,
    attributes,
    body,
    cut,
    event_name,
    logger,
    resource,
)
from e2e.odd_values.objects import Saying, raising

if TYPE_CHECKING:
    from collections.abc import Callable

    from e2e.odd_values.case import Seen

__all__ = ["BODIES", "KEYS", "NAMES", "made"]


def logged(name: str, becomes: str, *args: Any) -> Case:
    """Return the case of a call of ``info`` with these arguments."""
    return Case(name, lambda log: log.info(*args), becomes, body)


def made_of(fields: Callable[[], dict[Any, Any]]) -> Callable[[logging.Logger], object]:
    """Return what logs a record that is made of fields, as of another process."""

    def log(logger: logging.Logger) -> None:
        record = logging.LogRecord("odd", logging.INFO, "odd.py", 1, "odd", (), None)
        record.__dict__.update(fields())
        logger.handle(record)

    return log


def made(fields: dict[Any, Any]) -> Callable[[logging.Logger], object]:
    return made_of(lambda: fields)


_RAISING: Final = Saying(raising(ValueError("no text")))

_X: Final = 5_000_000 * "x"
_E: Final = 2_500_000 * "é"
_MANY: Final = {f"key{number}": 16_000 * "x" for number in range(100)}
_CUT: Final = "cut to no more than 204,800 bytes, with a mark"
_SHORT: Final = "cut to no more than 16,424 bytes, with a mark"


def _of_mapping(seen: Seen) -> str:
    pairs = seen.record.body.kvlist_value.values
    return pairs[0].value.string_value if pairs else seen.record.body.string_value


def _size(seen: Seen) -> str:
    size = seen.record.body.ByteSize()
    return f"{'no ' if size <= 204_800 + 40 else ''}more than 200 KiB"


BODIES: Final = (
    logged(
        "`'%d'` of `'x'`", "\"'%d' ('x',) [TypeError while formatting]\"", "%d", "x"
    ),
    logged(
        "`'%s %s'` of one argument",
        "\"'%s %s' ('one',) [TypeError while formatting]\"",
        "%s %s",
        "one",
    ),
    logged(
        "`'%s'` of two",
        "\"'%s' ('one', 'two') [TypeError while formatting]\"",
        "%s",
        "one",
        "two",
    ),
    logged(
        "`'done'` of one",
        "\"'done' ('one',) [TypeError while formatting]\"",
        "done",
        "one",
    ),
    logged(
        "`'100%'` of one",
        "\"'100%' ('one',) [ValueError while formatting]\"",
        "100%",
        "one",
    ),
    logged(
        "`'%y'` of one", "\"'%y' ('one',) [ValueError while formatting]\"", "%y", "one"
    ),
    logged(
        "`'%(key)s'` without the key",
        "\"'%(key)s' {'other': 1} [KeyError while formatting]\"",
        "%(key)s",
        {"other": 1},
    ),
    logged(
        "`'%s'` of what raises in `__str__`",
        "\"'%s' ('<Sayi…ng>',) [ValueError while formatting]\", 74 characters",
        "%s",
        _RAISING,
    ),
    logged("`'%s'` of a lone surrogate", r'"a\\ud800"', "%s", "a\ud800"),
    logged("a lone surrogate", r'"a\\ud800b"', "a\ud800b"),
    logged("the empty text", '""', ""),
    logged("NUL, ESC and a line's end", r'"\u0000\u001b[2J\r\n"', "\0\x1b[2J\r\n"),
    logged("`None`", '"None"', None),
    logged("`5`", '"5"', 5),
    logged("`b'a'`", "\"b'a'\"", b"a"),
    logged("`['a', 1]`", "\"['a', 1]\"", ["a", 1]),
    logged("an exception", '"bad"', ValueError("bad")),
    logged(
        "an object whose `__str__` raises",
        "\"'<Saying: Va…g>' () [ValueError while formatting]\", 69 characters",
        _RAISING,
    ),
    logged("a mapping", '{"a": 1, "b": [true]}', {"a": 1, "b": [True]}),
    logged("the empty mapping", "{}", {}),
    logged(
        "a mapping with `1`, `'1'` and a lone surrogate",
        r"""{"1": "a", "1_2": b'\xed\xa0\x80'}""",
        {1: "a", "1": "\ud800"},
    ),
    Case("5 MB", lambda log: log.info(_X), _CUT, cut(_X, 204_800)),
    Case("5 MB of `é`", lambda log: log.info(_E), _CUT, cut(_E, 204_800)),
    Case("5 MB as an argument", lambda log: log.info("%s", _X), _CUT, cut(_X, 204_800)),
    Case(
        "a mapping of 5 MB",
        lambda log: log.info({"k": _X}),
        _SHORT,
        cut(_X, 16_424, _of_mapping),
    ),
    Case(
        "a mapping of 100 texts of 16,000",
        lambda log: log.info(_MANY),
        "no more than 200 KiB",
        _size,
    ),
)

_OBJECT: Final = Saying(lambda: "an object")


def _event(value: object) -> Callable[[logging.Logger], object]:
    return made({"otel.event.name": value})


def _task(value: object) -> Callable[[logging.Logger], object]:
    return made({"task_id": value})


NAMES: Final = (
    Case("a logger's name with a lone surrogate", made({"name": "a\ud800"}), r'"a\\ud800"', logger),
    Case("a logger's name that is `5`", made({"name": 5}), '"5"', logger),
    Case("that is an object", made({"name": _OBJECT}), '"an object"', logger),
    Case("that is an object whose `__str__` raises", made({"name": _RAISING}), '"<Saying: ValueError while reading>"', logger),
    Case("of 5 MB", made({"name": _X}), "cut to no more than 1,064 bytes, with a mark", cut(_X, 1_064, lambda seen: seen.logger)),
    Case("an event's name with a lone surrogate", _event("a\ud800"), r'"a\\ud800"', event_name),
    Case("an event's name that is `5`", _event(5), '"5"', event_name),
    Case("that is an object whose `__str__` raises", _event(_RAISING), '"<Saying: ValueError while reading>"', event_name),
    Case("that is a list", _event(["a"]), "\"('a',)\"", event_name),
    Case("a `task_id` with a lone surrogate", _task("a\ud800"), r'{"task_id": "a\\ud800"}', attributes),
    Case("that is an object whose `__str__` raises", _task(_RAISING), '{"task_id": "<Saying: ValueError while reading>"}', attributes),
    Case("a service's name with a lone surrogate", made({}), r'"a\\ud800"', resource("service.name"), resource={"service.name": "a\ud800"}),
    Case("a resource's attribute with one", made({}), r'"a\\ud800"', resource("host"), resource={"host": "a\ud800"}),
    Case("a resource's key with one", made({}), '"a"', resource("host\\ud800"), resource={"host\ud800": "a"}),
)  # fmt: skip


def keyed(name: str, fields: dict[Any, Any], becomes: str) -> Case:
    return Case(name, made(fields), becomes, attributes)


KEYS: Final = (
    keyed("`''`", {"": 1}, '{"attribute": 1}'),
    keyed("`'_'`", {"_": 1}, '{"attribute": 1}'),
    keyed("`'日本'`", {"日本": 1}, '{"attribute.u65e5u672c": 1}'),
    keyed("`'größe'`", {"größe": 1}, '{"größe": 1}'),
    keyed("`'1st'`", {"1st": 1}, '{"1st": 1}'),
    keyed("a lone surrogate", {"a\ud800": 1}, r'{"a\\ud800": 1}'),
    keyed("`5`", {5: 1}, '{"5": 1}'),
    keyed("10,000 characters", {10_000 * "k": 1}, '{"kkkkkkkkkkkk…kkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkkk", 240 characters: 1}'),
    keyed("`'level'`", {"level": 1}, '{"extra.level": 1}'),
    keyed("`'severity'`", {"severity": 1}, '{"extra.severity": 1}'),
    keyed("`'lvl'`", {"lvl": 1}, '{"extra.lvl": 1}'),
    keyed("`'trace_id'`", {"trace_id": 1}, '{"extra.trace_id": 1}'),
    keyed("`'task.id'`", {"task.id": 1}, '{"extra.task.id": 1}'),
    keyed("`'service.name'`", {"service.name": 1}, '{"extra.service.name": 1}'),
    keyed("`{'task': {'id': 1}}`", {"task": {"id": 1}}, '{"task": {"extra.id": 1}}'),
    keyed("`'a.b'` and `'a_b'`", {"a.b": 1, "a_b": 2}, '{"a.b": 1, "a_b_2": 2}'),
    keyed("`'level'` and `'extra.level'`", {"level": 1, "extra.level": 2}, '{"extra.level": 1, "extra.level_2": 2}'),
    keyed("`'message'` and `'asctime'`", {"message": 1, "asctime": 2}, "{}"),
)  # fmt: skip
