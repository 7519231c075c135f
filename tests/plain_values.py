"""Objects that applications log, and that mean no harm."""

from __future__ import annotations

import array
import collections
import dataclasses
import datetime
import decimal
import enum
import fractions
import ipaddress
import logging
import re
import threading
import types
import uuid
import weakref
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["PLAIN"]


class Colour(enum.Enum):
    RED = 1
    odd = object()


class Access(enum.IntFlag):
    READ = 1
    WRITE = 2


class Point(NamedTuple):
    x: float
    y: float


@dataclasses.dataclass
class Order:
    number: int
    items: list[object] = dataclasses.field(default_factory=list[object])


def _dead_reference() -> object:
    return weakref.ref(Order(1))


_NOW: Final = datetime.datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=datetime.UTC)

PLAIN: Final[tuple[Callable[[], object], ...]] = (
    lambda: Colour.RED,
    lambda: Colour.odd,
    lambda: Access.READ | Access.WRITE,
    lambda: Access(64),
    lambda: Point(1.5, float("nan")),
    lambda: Order(7, [Point(1, 2), {"a": b"\xff"}]),
    lambda: Order,
    lambda: _NOW,
    _NOW.date,
    _NOW.timetz,
    lambda: datetime.timedelta.max,
    lambda: decimal.Decimal("1.10"),
    lambda: decimal.Decimal("sNaN"),
    lambda: fractions.Fraction(1, 3),
    lambda: complex(1, float("inf")),
    lambda: uuid.UUID(int=5),
    lambda: Path("/etc") / "\udc80.conf",
    lambda: PurePosixPath("a/b"),
    lambda: re.compile(r"a\d"),
    lambda: ipaddress.ip_network("10.0.0.0/8"),
    lambda: ValueError("as a value"),
    lambda: len,
    lambda: logging,
    lambda: Ellipsis,
    lambda: NotImplemented,
    _dead_reference,
    threading.Lock,
    object,
    lambda: range(10**12),
    lambda: collections.deque([1, "a"], maxlen=5),
    lambda: collections.Counter("abca"),
    lambda: collections.defaultdict(list, a=[1]),
    lambda: collections.OrderedDict(b=1, a=2),
    lambda: collections.ChainMap({"a": 1}, {"b": 2}),
    lambda: collections.UserDict({"a": {"b": 1}}),
    lambda: collections.UserList([1, [2]]),
    lambda: collections.UserString("user"),
    lambda: types.MappingProxyType({"a": 1}),
    lambda: types.SimpleNamespace(a=1),
    lambda: array.array("d", [1.5, 2.5]),
    lambda: memoryview(b"abcdef")[::2],
    lambda: memoryview(array.array("i", [1, 2])),
    lambda: bytearray(b"\x00\xff"),
    lambda: frozenset({1, "a", None, (2,)}),
    lambda: {1.5, float("nan")},
    lambda: (each for each in range(3)),
    lambda: {1: "int", "1": "text", 2: "other", None: 0, (1, 2): 3, b"k": 4},
)
"""Each makes a new one."""
