"""Values: copied in the log call, as they are then.

What can change, and what is of no plain type, becomes what can be kept and sent:
atoms, tuples of copies, dicts of copies with text keys. What a value comes to is
`plain`'s to say; here it is copied, within limits, whatever it does.
"""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeVar

from otel_tasklog.capture._plain import (
    ATOMS,
    MARK_CHARACTERS,
    VALUE_CHARACTERS,
    Items,
    Pairs,
    cut,
    describe,
    plain,
    shown,
)

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = [
    "ATOMS",
    "BODY_CHARACTERS",
    "VALUE_CHARACTERS",
    "Value",
    "cut",
    "describe",
    "short_key",
    "shown",
    "snapshot",
]

Value: TypeAlias = (
    "str | int | float | bytes | tuple[Value, ...] | dict[str, Value] | None"
)

BODY_CHARACTERS: Final = 204_800
"""A longer text is cut. A default Loki refuses lines over 256 KiB."""

KEY_CHARACTERS: Final = 256
"""Of a longer key the middle is cut out."""

MAX_ITEMS: Final = 1_000
"""In one container."""

MAX_TOTAL_ITEMS: Final = 10_000
"""In one value, at all depths: what is shared counts each time."""

MAX_TOTAL_CHARACTERS: Final = 262_144
"""Of the texts in one value that are longer than `SHORT_CHARACTERS`."""

SHORT_CHARACTERS: Final = 256
"""So much of a text there always is."""

# Receivers refuse more than 100 messages inside each other. A record is the fourth,
# an attribute's value the sixth. What is in a sequence is two further in, and what is
# in a mapping three.
_LEVELS: Final = 90
_ITEMS_LEVELS: Final = 2
_PAIRS_LEVELS: Final = 3
_NUMBERS: Final = frozenset({int, float, bool, type(None)})
_Item = TypeVar("_Item")
_Outer: TypeAlias = "tuple[int, ...]"


def snapshot(value: object) -> Value:
    """Return an immutable copy of *value*, as it is now.

    Never raises, but lets a ``BaseException`` such as ``KeyboardInterrupt`` pass.
    Takes no lock. Nothing of the application's is in the copy. A text inside another
    value is cut, and one that is made of an object; one by itself is not.
    """
    if type(value) is str or type(value) is int:
        return value
    return _Copying().of(value, _LEVELS, ())


class _Copying:
    """One value while it is copied, and what is left of its limits."""

    __slots__ = ("_characters", "_items_left")

    def __init__(self) -> None:
        self._characters = MAX_TOTAL_CHARACTERS
        self._items_left = MAX_TOTAL_ITEMS

    def of(self, value: object, levels: int, outer: _Outer) -> Value:
        """Return the copy of a value, or the marker of what it raised.

        Args:
            value: The value.
            levels: How many messages inside each other the wire still takes.
            outer: The containers around it, by their ids.
        """
        try:
            known: Any = value
            kind = type(value)
            if kind is dict:
                return self._pairs(value, known.items(), levels, outer)
            if kind is list or kind is tuple:
                return self._items(value, known, levels, outer, ordered=True)
            form = plain(value)
            if isinstance(form, Pairs):
                return self._pairs(value, form.pairs, levels, outer)
            if isinstance(form, Items):
                items, ordered = form
                return self._items(value, items, levels, outer, ordered=ordered)
        except Exception as error:  # noqa: BLE001 - a record never fails
            return describe(value, error)
        return form

    def _items(
        self,
        value: object,
        items: Iterable[Any],
        levels: int,
        outer: _Outer,
        *,
        ordered: bool,
    ) -> Value:
        levels -= _ITEMS_LEVELS
        if levels < 0 or self._items_left <= 0 or id(value) in outer:
            return self._barred(value, levels, outer)
        taken, more = self._take(items)
        outer = (*outer, id(value))
        copies: list[Value] = []
        for item in taken:
            kind = type(item)  # pyright: ignore[reportUnknownVariableType]
            if kind in _NUMBERS or (kind is str and len(item) <= SHORT_CHARACTERS):
                copies.append(item)
            else:
                copies.append(self._inner(item, levels, outer))
        if not ordered:
            copies.sort(key=_order)
        if more:
            copies.append(f"… [{_excess(value, len(taken))} items cut]")
        return tuple(copies)

    def _pairs(
        self,
        value: object,
        pairs: Iterable[tuple[Any, Any]],
        levels: int,
        outer: _Outer,
    ) -> Value:
        levels -= _PAIRS_LEVELS
        if levels < 0 or self._items_left <= 0 or id(value) in outer:
            return self._barred(value, levels, outer)
        taken, more = self._take(pairs)
        outer = (*outer, id(value))
        copies: dict[str, Value] = {}
        for key, item in taken:
            name = key if type(key) is str else self._name(key, levels, outer)
            if len(name) > KEY_CHARACTERS or name in copies:
                name = _free(short_key(name), copies)
            kind = type(item)  # pyright: ignore[reportUnknownVariableType]
            if kind in _NUMBERS or (kind is str and len(item) <= SHORT_CHARACTERS):
                copies[name] = item
            else:
                copies[name] = self._inner(item, levels, outer)
        if more:
            copies[_free("… items cut", copies)] = _excess(value, len(taken))
        return copies

    def _take(self, items: Iterable[_Item]) -> tuple[list[_Item], bool]:
        """Return the first items, as many as may be, and whether there are more.

        Of a built-in container they are read in one step of the interpreter: no other
        thread changes it meanwhile.
        """
        limit = min(MAX_ITEMS, self._items_left)
        taken = [*islice(items, limit + 1)]
        more = len(taken) > limit
        if more:
            taken.pop()
        self._items_left -= len(taken)
        return taken, more

    def _inner(self, value: object, levels: int, outer: _Outer) -> Value:
        """Return the copy of what is in a container; a text or bytes cut."""
        copy = self.of(value, levels, outer)
        if type(copy) is str or type(copy) is bytes:
            most = max(min(VALUE_CHARACTERS, self._characters), SHORT_CHARACTERS)
            copy = cut(copy, most) if type(copy) is str else copy[:most]
            self._characters -= len(copy)
        return copy

    def _name(self, key: object, levels: int, outer: _Outer) -> str:
        """Return the text of a key that is none."""
        copy = self.of(key, levels, outer)
        if type(copy) is bytes:
            return copy.decode("utf-8", "backslashreplace")
        return copy if type(copy) is str else shown(copy)

    def _barred(self, value: object, levels: int, outer: _Outer) -> str:
        """Return the marker that stands for a container that is not entered."""
        if id(value) in outer:
            return "<cycle>"
        return "<nested too deeply>" if levels < 0 else "<too many items>"


def short_key(key: str) -> str:
    """Return a key that is not too long.

    Of a longer one both ends: either may say that the value is a secret.
    """
    if len(key) <= KEY_CHARACTERS:
        return key
    kept = (KEY_CHARACTERS - MARK_CHARACTERS) // 2
    return f"{key[:kept]}… [{len(key) - 2 * kept} characters cut] {key[-kept:]}"


def _free(name: str, copies: dict[str, Value]) -> str:
    """Return *name*, numbered if it is there."""
    free, number = name, 1
    while free in copies:
        number += 1 if number < 10 else len(copies)  # a thousand may be alike
        free = f"{name}_{number}"
    return free


def _excess(value: object, count: int) -> int | str:
    """Return how many more items there are; ``"more"`` if nobody knows."""
    sized: Any = value
    try:
        excess = len(sized) - count
    except Exception:  # noqa: BLE001 - it has no length, or says so
        return "more"
    return excess if excess > 0 else "more"


def _order(copy: Value) -> tuple[str, Any]:
    """Return by what a set is sorted: numbers, texts, and all else by its ``repr``."""
    kind = type(copy)
    if kind is str or kind is bytes:
        return kind.__name__, copy
    if kind is int or kind is bool or (kind is float and copy == copy):  # noqa: PLR0124 - not NaN
        return "", copy
    return "~", shown(copy)
