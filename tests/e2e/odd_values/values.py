"""Attributes: what the values of ``extra={"value": ...}`` become."""

from __future__ import annotations

import array
import collections
import datetime
import decimal
import fractions
import pathlib
import types
import uuid
from typing import TYPE_CHECKING, Any, Final

from e2e.odd_values.case import NOTHING, Case, at, cut, text_at
from e2e.odd_values.objects import (
    Access,
    Colour,
    EndlessSequence,
    Lying,
    Model,
    Number,
    Pair,
    Plain,
    Point,
    RaisingMapping,
    RaisingSequence,
    Recursing,
    Saying,
    Text,
    Word,
    cycle,
    cyclic_mapping,
    nested,
    raising,
    shared,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from e2e.odd_values.case import Look, Seen

__all__ = ["CONTAINERS", "LARGE", "NUMBERS", "OBJECTS", "TEXTS"]


_VALUE: Final = at("value")


def valued(
    name: str,
    value: Callable[[], object],
    becomes: str,
    look: Look = _VALUE,
    *,
    lines: int = 0,
) -> Case:
    """Return the case of an attribute's value, made in the process that logs it."""

    def log(logger: logging.Logger) -> None:
        logger.info("odd", extra={"value": value()})

    return Case(name, log, becomes, look, lines=lines)


def of(name: str, value: object, becomes: str, look: Look = _VALUE) -> Case:
    return valued(name, lambda: value, becomes, look)


_X: Final = 5_000_000 * "x"
_E: Final = 2_500_000 * "é"
_CUT: Final = "cut to no more than 16,424 bytes, with a mark"
_FITS: Final = "no more than 64 KiB in all"


def _value_cut(text: str) -> Look:
    return cut(text, 16_384 + 40, text_at("value"))


_UTC: Final = datetime.UTC
_MOMENT: Final = datetime.datetime(2026, 1, 2, 3, 4, 5, 678, _UTC)


def many(seen: Seen) -> str:
    """Show how many of 200 came, and whether they are the first, and counted."""
    keys = [key for key in seen.attributes if key.startswith("key")]
    first = keys == [f"key{n}" for n in range(len(keys))]
    in_all = len(seen.attributes) + len(seen.resource)
    counted = len(keys) + seen.record.dropped_attributes_count == 200
    return (
        f"{'the first' if first else 'not the first'}, {'no' if in_all <= 96 else ''}"
        f" more than 96 in all; the rest {'' if counted else 'not '}counted"
    ).replace("  ", " ")


def few(seen: Seen) -> str:
    """Show how many of a mapping came, and whether the others are counted."""
    value = seen.attributes.get("value")
    if value is None:
        return NOTHING
    keys = [pair.key for pair in value.kvlist_value.values]
    first = keys[:50] == [str(number) for number in range(50)]
    counted = seen.record.dropped_attributes_count > 0
    return (
        f"{'the first' if first else 'not the first'}, {'no' if len(keys) <= 96 else ''}"
        f" more than 96; the rest {'' if counted else 'not '}counted"
    ).replace("  ", " ")


def total(seen: Seen) -> str:
    """Show whether Loki takes the attributes of a record, by their size."""
    pairs: dict[str, Any] = {**seen.resource, **seen.attributes}
    size = sum(len(key) + value.ByteSize() for key, value in pairs.items())
    return f"{'' if size > 65_536 else 'no '}more than 64 KiB in all"


NUMBERS: Final = (
    of("`2**63 - 1`", 2**63 - 1, "9223372036854775807"),
    of("`2**63`", 2**63, '"9223372036854775808"'),
    of("`-2**63`", -(2**63), "-9223372036854775808"),
    of("`-2**63 - 1`", -(2**63) - 1, '"-9223372036854775809"'),
    of("`[2**64]`", [2**64], '["18446744073709551616"]'),
    valued(
        "`10**5000`, of which Python makes no decimal",
        lambda: 10**5000,
        '"0x31e2080103…000000000000000000000000000000000000", 4,096 characters',
    ),
    of("`True`", True, "true"),  # noqa: FBT003
    of("`None`", None, "null"),
    of("`nan`", float("nan"), "nan"),
    of("`inf`", float("inf"), "inf"),
    of("`-0.0`", -0.0, "-0.0"),
    of("an `IntEnum` member", Number.ONE, '"ONE"'),
    of("`Decimal`", decimal.Decimal("1.10"), '"1.10"'),
    of("`Fraction`", fractions.Fraction(1, 3), '"1/3"'),
    of("`complex`", 1 + 2j, '"(1+2j)"'),
)

TEXTS: Final = (
    of("a lone surrogate", "a\ud800b", r"b'a\xed\xa0\x80b'"),
    of("a surrogate of `surrogateescape`", "caf\udce9", r"b'caf\xe9'"),
    of("a list with a lone surrogate", ["\ud800"], r"[b'\xed\xa0\x80']"),
    of("a mapping with one as a value", {"k": "\ud800"}, r"""{"k": b'\xed\xa0\x80'}"""),
    of("a mapping with one in a key", {"\ud800": 1}, r'{"\\ud800": 1}'),
    of("NUL, ESC and a line's end", "\0\x1b[2J\r\n", r'"\u0000\u001b[2J\r\n"'),
    of("`bytes`", b"\xff\0", r"b'\xff\x00'"),
    of("`bytearray`", bytearray(b"ab"), "b'ab'"),
    of("`memoryview`", memoryview(b"ab"), "b'ab'"),
    of("a `str` with a `__str__` of its own", Text("this"), '"this"'),
    of("an `Enum` member", Colour.RED, '"RED"'),
    of("a `StrEnum` member", Word.HELLO, '"HELLO"'),
    of("two members of a `Flag`", Access.READ | Access.WRITE, '"READ|WRITE"'),
    of("`datetime`", _MOMENT, '"2026-01-02T03:04:05.000678+00:00"'),
    of("`date`", _MOMENT.date(), '"2026-01-02"'),
    of("`time`", _MOMENT.time(), '"03:04:05.000678"'),
    of("`timedelta`", datetime.timedelta(hours=1, seconds=2), '"1:00:02"'),
    of("`UUID`", uuid.UUID(int=1), '"00000000-0000-0000-0000-000000000001"'),
    of("`Path`", pathlib.PurePosixPath("/var/log"), '"/var/log"'),
)

_LISTS: Final = '45 levels, the last of them ["<nested too deeply>"]'
_MAPPINGS: Final = '30 levels, the last of them {"k": "<nested too deeply>"}'

CONTAINERS: Final = (
    of("`tuple`", (1, "a", None), '[1, "a", null]'),
    of("`namedtuple`", Pair(1, "a"), '{"left": 1, "right": "a"}'),
    of("a dataclass", Point(1, 2), '{"x": 1, "y": 2}'),
    valued("a pydantic model", Model, '{"id": 7, "name": "seven"}'),
    of("`set`", {3, 1, 2}, "[1, 2, 3]"),
    of("`frozenset` of several types", frozenset(["b", 1]), '[1, "b"]'),
    of("`deque`", collections.deque([1, 2]), "[1, 2]"),
    of("`range`", range(3), "[0, 1, 2]"),
    of("`array`", array.array("i", [1, 2]), "[1, 2]"),
    of("`dict.keys()`", {"b": 1, "a": 2}.keys(), '["b", "a"]'),
    of("`mappingproxy`", types.MappingProxyType({"k": 1}), '{"k": 1}'),
    of("`ChainMap`", collections.ChainMap({"k": 1}), '{"k": 1}'),
    of("a mapping with the key `1`", {1: "a"}, '{"1": "a"}'),
    of("with `1` and `'1'`", {1: "a", "1": "b"}, '{"1": "a", "1_2": "b"}'),
    of("with `None`, `0` and `False`", {None: 1, 0: 2}, '{"None": 1, "0": 2}'),
    of("with a tuple", {(1, 2): "a"}, '{"(1, 2)": "a"}'),
    of("with `''`", {"": 1}, '{"attribute": 1}'),
    of("with `'日本'`", {"日本": 1}, '{"attribute.u65e5u672c": 1}'),
    valued(
        "with an object whose `__str__` raises",
        lambda: {Saying(raising(ValueError())): 1},
        '{"<Saying: ValueError while reading>": 1}',
    ),
    of("90 lists, one in the other", nested(90), _LISTS),
    of("3,000 lists", nested(3000), _LISTS),
    of("90 mappings, one in the other", nested(90, dict), _MAPPINGS),
    of("3,000 mappings", nested(3000, dict), _MAPPINGS),
    valued("a list that holds itself", cycle, '[1, "<cycle>"]'),
    valued("a mapping that holds itself", cyclic_mapping, '{"self": "<cycle>"}'),
    valued("10 of one list of 10 of one list ..., 9 times", shared, _FITS, total),
)

OBJECTS: Final = (
    valued("an object without a text of its own", Plain, '"<e2e.odd_values.objects.Plain object at 0x…>"'),
    of("an exception", ValueError("bad"), '"ValueError: bad"'),
    of("a function", len, '"len"'),
    of("a class", int, '"int"'),
    valued(
        "`__str__` raises", lambda: Saying(raising(ValueError())),
        '"<Saying: ValueError while reading>"',
    ),
    valued(
        "`__str__` returns no text", lambda: Saying(lambda: 5),
        '"<Saying: TypeError while reading>"',
    ),
    valued(
        "`__str__` calls itself", Recursing, '"<Recursing: RecursionError while reading>"',
    ),
    valued(
        "`__str__` returns 5 MB", lambda: Saying(lambda: _X), _CUT, _value_cut(_X),
    ),
    valued(
        "`__len__` raises", lambda: RaisingSequence(None),
        '"<RaisingSequence: OSError while reading>"',
    ),
    valued(
        "`__iter__` raises", lambda: RaisingSequence(3),
        '"<RaisingSequence: OSError while reading>"',
    ),
    valued(
        "`__getitem__` of a mapping raises", RaisingMapping,
        '"<RaisingMapping: ValueError while reading>"',
    ),
    valued("`__iter__` never ends", EndlessSequence, '[1, 1, 1, …, "… [more items cut]"], 1,001 items'),
    valued("`__class__` raises", Lying, '"lying"'),
)  # fmt: skip


def _log_many(logger: logging.Logger) -> None:
    logger.info("odd", extra={f"key{n}": n for n in range(200)})


def _log_large(logger: logging.Logger) -> None:
    logger.info("odd", extra={f"key{n}": 20_000 * "x" for n in range(6)})


LARGE: Final = (
    Case("200 attributes", _log_many, "the first, no more than 96 in all; the rest counted", many, lines=1),
    Case("6 attributes of 20,000 characters", _log_large, _FITS, total, lines=1),
    of("a text of 5 MB", _X, _CUT, _value_cut(_X)),
    of("5 MB of `é`", _E, "cut to no more than 32,808 bytes, with a mark", cut(_E, 2 * 16_384 + 40, text_at("value"))),
    valued("`bytes` of 5 MB", lambda: bytes(5_000_000), r"b'\x00\x00\x00\x00'…, 16,384 bytes"),
    valued("a list of 100,000", lambda: list(range(100_000)), '[0, 1, 2, …, "… [99000 items cut]"], 1,001 items'),
    valued("a mapping of 100,000", lambda: dict.fromkeys(map(str, range(100_000)), 0), "the first, no more than 96; the rest counted", few, lines=1),
)  # fmt: skip
