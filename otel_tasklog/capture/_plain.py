"""What a value comes to by its type: an atom, items, or pairs.

Types are asked of ``type()``, and attributes of classes past their metaclasses: a
value may say anything of itself, and no code of the application runs that is not
needed. A value that raises while it is read is the business of whoever asks.

See https://opentelemetry.io/docs/specs/otel/common/attribute-type-mapping/
"""

from __future__ import annotations

import dataclasses
import datetime
import decimal
import enum
import numbers
import pathlib
import re
import uuid
from collections import UserString, deque
from collections.abc import Iterable, Mapping, MappingView, Sequence
from collections.abc import Set as AbstractSet
from types import BuiltinFunctionType, FunctionType, MethodType
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

__all__ = [
    "ATOMS",
    "MARK_CHARACTERS",
    "VALUE_CHARACTERS",
    "Items",
    "Pairs",
    "cut",
    "describe",
    "named",
    "names_of",
    "plain",
    "shown",
    "text_of",
    "type_name",
    "whole_length",
]

ATOMS: Final = frozenset({str, int, float, bool, type(None), bytes})
"""Types whose values cannot change and hold nothing else alive."""

VALUE_CHARACTERS: Final = 16_384
"""A longer attribute is cut. A default Loki refuses 64 KiB of them in all."""

MARK_CHARACTERS: Final = 40
_MARK: Final = re.compile(r"… \[(\d{1,15}) characters cut\]\Z")
_TYPE_CHARACTERS: Final = 256

_own_module: Final[Callable[[type], object]] = type.__dict__["__module__"].__get__
_mro: Final[Callable[[type], tuple[type, ...]]] = type.__dict__["__mro__"].__get__
_own: Final[Callable[[type], Mapping[str, Any]]] = type.__dict__["__dict__"].__get__
_qualname: Final[Callable[[type], str]] = type.__dict__["__qualname__"].__get__


def describe(value: object, error: BaseException) -> str:
    """Return the marker that stands for a value that could not be read."""
    return f"<{_name(type(value))}: {_name(type(error))} while reading>"


def shown(value: object) -> str:
    """Return the ``repr`` of a value, or the marker that it has none."""
    try:
        return str.__str__(repr(value))
    except Exception as error:  # noqa: BLE001 - a huge int has none
        return describe(value, error)


def named(value: object) -> str:
    """Return the text of what names something; the ``repr`` of what is no text."""
    # A StrEnum's is its value: a key of a dict is found by both.
    known: Any = value
    return str.__str__(known) if issubclass(type(value), str) else shown(value)


def text_of(value: object) -> str:
    """Return the ``str`` of a value, or the marker that it has none."""
    try:
        return str.__str__(str(value))
    except Exception as error:  # noqa: BLE001 - a huge int has none
        return describe(value, error)


def cut(text: str, characters: int) -> str:
    """Return *text*, cut to *characters*, with a mark that says how much is gone.

    The mark counts, so what was cut before is not cut again. For one, there must be
    room for as much of the text again.
    """
    if len(text) <= characters:
        return text
    kept = characters - MARK_CHARACTERS
    if kept < MARK_CHARACTERS:
        return text[:characters]
    return f"{text[:kept]}… [{len(text) - kept} characters cut]"


def whole_length(text: str) -> int:
    """Return how many characters a text had before it was cut, if it was."""
    marked = _MARK.search(text, max(len(text) - MARK_CHARACTERS, 0))
    return marked.start() + int(marked[1]) if marked else len(text)


def type_name(kind: type) -> str:
    """Return a type's fully-qualified name, as ``exception.type`` has it."""
    return _full_name(_module(kind), _name(kind))


def names_of(kind: type) -> tuple[str, str]:
    """Return a type's module and its name in there."""
    module = _module(kind)
    return module if type(module) is str else "builtins", str.__str__(_qualname(kind))


def _module(kind: type) -> object:
    try:
        return _own_module(kind)
    except AttributeError:  # made by ``type()`` where no module was
        return None


def _name(kind: type) -> str:
    return cut(str.__str__(_qualname(kind)), _TYPE_CHARACTERS)


def _full_name(module: object, name: str) -> str:
    if type(module) is not str or module in {"builtins", "__main__"}:
        return name
    return f"{module}.{name}"


class Items(NamedTuple):
    """What is in a sequence, a set or a view."""

    items: Iterable[Any]
    ordered: bool = True


class Pairs(NamedTuple):
    """What is in a mapping, or the fields of an object."""

    pairs: Iterable[tuple[Any, Any]]


Plain: TypeAlias = "str | int | float | bytes | Items | Pairs | None"


def plain(value: object) -> Plain:
    """Return what a value comes to; nothing is copied of what is in a container.

    Raises:
        Exception: Whatever the value raises while it is read.
    """
    kind = type(value)
    if kind in ATOMS:
        return value  # type: ignore[return-value]
    if issubclass(kind, enum.Enum):  # first: an IntEnum is an int, too
        return _member(value)
    classes = _mro(kind)
    for base in classes:
        read = _CLASSES.get(base)
        if read is not None:
            return read(value)
    fields = _fields(value, kind, classes)
    if fields is not None:
        return Pairs(fields)
    for interface, read in _INTERFACES:
        if issubclass(kind, interface):
            return read(value)
    return _text(value)


def _text(value: object) -> str:
    return cut(str.__str__(str(value)), VALUE_CHARACTERS)


def _data(value: bytes | bytearray | memoryview) -> bytes:
    # Only what is kept is copied, but of several dimensions, which have no parts.
    view = memoryview(value)
    return (view[:VALUE_CHARACTERS] if view.ndim == 1 else view).tobytes()[
        :VALUE_CHARACTERS
    ]


def _iso(value: datetime.date | datetime.time) -> str:
    return str.__str__(value.isoformat())


def _member(value: object) -> Plain:
    member: Any = value
    name: object = member.name
    # Of a Flag not every combination has one.
    return plain(member.value if name is None else name)


def _error(value: BaseException) -> str:
    name, text = type_name(type(value)), _text(value)
    return f"{name}: {text}" if text else name


def _function(value: FunctionType | MethodType | BuiltinFunctionType) -> str:
    return _full_name(value.__module__, str.__str__(value.__qualname__))


def _tuple(value: tuple[Any, ...]) -> Plain:
    names: tuple[object, ...] | None = getattr(type(value), "_fields", None)
    if type(names) is tuple and len(names) == len(value):
        return Pairs(zip(names, value, strict=True))
    return Items(value)


def _fields(
    value: object, kind: type, classes: tuple[type, ...]
) -> Iterator[tuple[object, object]] | None:
    """Return the fields that an object shows in its ``repr``, if its class has such.

    What its author keeps out of there is not for a log either.
    """
    known: Any = kind
    for base in classes:
        own = _own(base)
        if "__dataclass_fields__" in own:
            names = [f.name for f in dataclasses.fields(known) if f.repr]
            return ((name, _read(value, name)) for name in names)
        if "__attrs_attrs__" in own:
            each = [a for a in known.__attrs_attrs__ if a.repr is not False]
            return ((a.name, _read(value, a.name, a.repr)) for a in each)
        if "model_fields" in own:
            fields: dict[str, Any] | None = known.model_fields
            if type(fields) is dict:
                return _model_fields(value, fields)
    return None


def _model_fields(
    value: object, fields: dict[str, Any]
) -> Iterator[tuple[object, object]]:
    """Yield the fields of a pydantic model, as far as they are loaded."""
    there: dict[str, object] = object.__getattribute__(value, "__dict__")
    for name, field in fields.items():
        if name in there and field.repr and not field.exclude:
            yield name, there[name]
    yield from (getattr(value, "model_extra", None) or {}).items()


def _read(value: object, name: str, show: object = None) -> object:
    """Return a field, or the marker of what it raised: the others are still good."""
    try:
        found = getattr(value, name)
        return show(found) if callable(show) else found
    except Exception as error:  # noqa: BLE001 - a record never fails
        return describe(value, error)


def _members(value: Iterable[object]) -> Items:
    return Items(value, ordered=False)


def _mapping(value: Mapping[object, object]) -> Pairs:
    return Pairs(value.items())


_Reader: TypeAlias = "Callable[[Any], Plain]"

# Of the classes that a type is made of, the first that is here decides.
_CLASSES: Final[Mapping[type, _Reader]] = {
    str: str.__str__,
    int: int.__int__,  # not what it says of itself
    float: float.__float__,
    bytes: _data,
    bytearray: _data,
    memoryview: _data,
    tuple: _tuple,
    list: Items,
    deque: Items,
    set: _members,
    frozenset: _members,
    dict: _mapping,
    datetime.date: _iso,
    datetime.time: _iso,
    decimal.Decimal: _text,
    uuid.UUID: _text,
    pathlib.PurePath: _text,
    UserString: _text,
    BaseException: _error,
    type: type_name,
    FunctionType: _function,
    BuiltinFunctionType: _function,
    MethodType: _function,
}
_INTERFACES: Final[tuple[tuple[type, _Reader], ...]] = (
    (Mapping, _mapping),
    (MappingView, Items),  # those of keys are sets, too, but in order
    (AbstractSet, _members),
    (Sequence, Items),
    (numbers.Integral, int),  # NumPy's, too
    (numbers.Rational, _text),
    (numbers.Real, float),
)
