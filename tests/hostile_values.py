"""Objects that mean harm to whoever reads them.

`HOSTILE` and `HEAVY` make a new one at each call. None of them raises anything but an
`Exception`, or waits; `Interrupting` stands apart for that.
"""

from __future__ import annotations

import datetime
import enum
import itertools
import logging
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import TYPE_CHECKING, Any, Final, NoReturn

from plain_values import PLAIN

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = [
    "HEAVY",
    "HOSTILE",
    "HOSTILE_RECORDS",
    "INNER_LOGGER",
    "PLAIN",
    "Interrupting",
    "inner_records",
]

INNER_LOGGER: Final = "hostile.inner"
"""Where `Logging` logs."""

inner_records: Final = itertools.count()
"""Counts what was logged there."""


class Answering:
    """Has every attribute, as a mock has."""

    def __getattr__(self, name: str) -> Answering:
        return Answering()

    def __call__(self, *args: object, **kwargs: object) -> Answering:
        return self


def refuse(*args: object, **kwargs: object) -> NoReturn:
    raise RuntimeError("it does not want to be read")


def _refusing(*names: str, base: type = object, **more: object) -> type:
    """Return a class whose methods of these names raise."""
    return type("Refusing", (base,), {**dict.fromkeys(names, refuse), **more})


def _recurse(self: object) -> str:
    return f"<{self!r} {self}>"


class Untrue:
    """Says what it is not."""

    def __init__(self, claimed: type) -> None:
        self._claimed = claimed

    @property
    def __class__(self) -> Any:
        return self._claimed

    @__class__.setter
    def __class__(self, claimed: type) -> None:
        self._claimed = claimed


class Faceless:
    """Does not even say what it is."""

    @property
    def __class__(self) -> Any:
        refuse()

    @__class__.setter
    def __class__(self, claimed: type) -> None: ...


class Logging:
    """Logs when it is read, itself among the arguments, a few times."""

    def __init__(self) -> None:
        self._left = 3

    def __str__(self) -> str:
        if self._left:
            self._left -= 1
            logging.getLogger(INNER_LOGGER).warning("%s", self, extra={"it": self})
            next(inner_records)
        return "logged"

    __repr__ = __str__


class Interrupting:
    """Raises what is no `Exception` when it is read."""

    def __init__(self, error: BaseException) -> None:
        self._error = error

    def __str__(self) -> str:
        raise self._error

    __repr__ = __str__


class Endless(Sequence[object]):
    """Has more items than there can be."""

    def __len__(self) -> int:
        return 2**62

    def __getitem__(self, index: Any) -> Any:
        return index


class EndlessMap(Mapping[object, object]):
    def __len__(self) -> int:
        return 2**62

    def __iter__(self) -> Iterator[object]:
        return itertools.count()

    def __getitem__(self, key: object) -> object:
        return EndlessMap()


class EndlessSet(AbstractSet[object]):
    def __contains__(self, item: object) -> bool:
        return True

    def __len__(self) -> int:
        return 10**6

    def __iter__(self) -> Iterator[object]:
        return iter(range(10**6))


class Growing(list[object]):
    """Gets longer while it is read."""

    def __iter__(self) -> Iterator[object]:
        for item in itertools.count():
            self.append(item)
            yield Growing([item])


class Crooked(dict[str, object]):
    """Its items are no pairs."""

    def items(self) -> Any:
        return iter([1, (2,), ("a", "b", "c")])


class TextOfItsOwn(str):
    """A text whose methods are not those of one."""

    __slots__ = ()
    __str__ = __repr__ = encode = isascii = __len__ = refuse
    __eq__ = __hash__ = __iter__ = __getitem__ = __bool__ = refuse
    __contains__ = __format__ = splitlines = refuse


class NumberOfItsOwn(int):
    __str__ = __repr__ = __index__ = __int__ = __trunc__ = refuse
    bit_length = __eq__ = __hash__ = __lt__ = __bool__ = refuse


class DoubleOfItsOwn(float):
    __str__ = __repr__ = __float__ = __trunc__ = __eq__ = __hash__ = refuse


class OddZone(datetime.tzinfo):
    utcoffset = dst = tzname = refuse


class Nameless(type):
    """A class of which nothing can be read, not even its name."""

    __getattribute__ = __str__ = __repr__ = refuse
    __instancecheck__ = __hash__ = refuse


def _released() -> memoryview:
    view = memoryview(b"gone")
    view.release()
    return view


def _bottomless() -> object:
    nested: list[object] = []
    for _ in range(3_000):
        nested = [nested]
    return nested


def _bottomless_map() -> object:
    nested: dict[str, object] = {}
    for _ in range(3_000):
        nested = {"k": nested}
    return nested


def _ring() -> object:
    ring: dict[str, object] = {}
    ring["list"] = [ring, (ring,), {"again": ring}]
    return ring


def _bush() -> object:
    """Return what is small in memory, and has 2**16 leaves."""
    bush: object = "leaf"
    for _ in range(16):
        bush = [bush, bush]
    return bush


HOSTILE: Final[tuple[Callable[[], object], ...]] = (
    _refusing("__str__"),
    _refusing("__str__", "__repr__"),
    _refusing("__repr__", "__format__", "__bool__", "__len__"),
    _refusing("__eq__", "__hash__", "__lt__", "__bool__"),
    _refusing("__getattr__", "__str__", "__repr__"),
    _refusing("__getattribute__"),
    _refusing("__iter__", "__len__", base=list),
    _refusing("__iter__", "items", "keys", "__len__", base=dict),
    _refusing("__getitem__", base=dict),
    _refusing("__iter__", "__len__", "__hash__", "__eq__", base=frozenset),
    _refusing("__iter__", "__len__", "__getitem__", "__bytes__", base=bytes),
    _refusing("isoformat", "utcoffset", base=object),
    _refusing("__str__", __repr__=_recurse),
    _refusing(__str__=_recurse, __repr__=_recurse),
    _refusing(__str__=lambda _: 5, __repr__=lambda _: None),
    _refusing(__str__=lambda _: TextOfItsOwn("odd"), __repr__=lambda _: "\udc80"),
    _refusing("__index__", "__int__", "__float__", "__str__"),
    _refusing("_asdict", "model_dump", "__dataclass_fields__", "dict"),
    lambda: _refusing(_asdict=refuse, _fields=("a",), base=tuple)((1,)),
    _refusing(model_dump=lambda _: _ring(), model_fields={"a": 1}),
    _refusing(__dataclass_fields__={"gone": 1}),
    lambda: Untrue(dict),
    lambda: Untrue(str),
    lambda: Untrue(tuple),
    lambda: Untrue(enum.Enum),
    lambda: Untrue(datetime.datetime),
    Faceless,
    Answering,
    Logging,
    Endless,
    Crooked,
    lambda: TextOfItsOwn("of its own"),
    lambda: NumberOfItsOwn(7),
    lambda: DoubleOfItsOwn(7),
    lambda: datetime.datetime(2026, 1, 1, tzinfo=OddZone()),
    lambda: Nameless("Nameless", (), {}),
    lambda: type.__call__(Nameless("Nameless", (), {"__str__": refuse})),
    _released,
    _ring,
    lambda: {_refusing("__str__", "__repr__")(): 1, "good": 2},
    lambda: {_refusing("__eq__", __hash__=lambda _: 1)(): 1},
)
"""What raises, lies, has no end, or turns in circles."""

HEAVY: Final[tuple[Callable[[], object], ...]] = (
    EndlessMap,
    EndlessSet,
    Growing,
    _bottomless,
    _bottomless_map,
    _bush,
    _refusing(__repr__=lambda _: "r" * 1_000_000),
)
"""Likewise; each takes milliseconds to read."""


class Subclassed(logging.LogRecord):
    """Has a text and fields of its own."""

    def getMessage(self) -> str:  # noqa: N802 - logging's name
        return f"of its own: {self.msg}"

    def __getattr__(self, name: str) -> str:
        return f"no {name}"


class Textless(logging.LogRecord):
    def getMessage(self) -> NoReturn:  # noqa: N802 - logging's name
        refuse()

    __repr__ = __str__ = __eq__ = refuse
    __hash__ = None  # type: ignore[assignment]


class Guarded(logging.LogRecord):
    """Lets nobody see its fields together."""

    @property
    def __dict__(self) -> NoReturn:  # type: ignore[override]
        refuse()


HOSTILE_RECORDS: Final[tuple[type[logging.LogRecord], ...]] = (
    Subclassed,
    Textless,
    Guarded,
)
"""Records that are not as ``logging`` makes them."""
