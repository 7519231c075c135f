"""The members of an object of JSON, each of the type that it should have."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeGuard, cast

from otel_tasklog.viewer._record_json import EXACT

if TYPE_CHECKING:
    from otel_tasklog.capture._values import Value

__all__ = ["Members", "check_time"]

_DIGITS: Final = re.compile(r"-?[0-9]{1,4000}", re.ASCII)
_YEAR_1_NS: Final = -62_135_596_800 * 10**9
_YEAR_9999_NS: Final = 253_402_214_400 * 10**9
"""A day less than there is, so that each time zone has the moment."""


class Members:
    """An object of JSON. One that is null is as one that is not there.

    Args:
        value: The object, as ``json.loads`` makes it.
    """

    __slots__ = ("_value",)

    def __init__(self, value: Mapping[str, object]) -> None:
        self._value = value

    def has(self, name: str) -> bool:
        """Return whether there is such a member."""
        return self._value.get(name) is not None

    def text(self, name: str, default: str | None = None) -> str:
        """Return a member that is a text.

        Raises:
            ValueError: It is something else, or is not there and has no default.
        """
        found = self._value.get(name)
        if found is None and default is not None:
            return default
        if not isinstance(found, str):
            raise _unfit(name, "a text", found)
        return found

    def maybe_text(self, name: str) -> str | None:
        """Return the same, or None if it is not there."""
        return self.text(name) if self.has(name) else None

    def whole(self, name: str, default: int | None = None) -> int:
        """Return a member that is a whole number, also as a text of digits.

        Raises:
            ValueError: It is something else, or is not there and has no default.
        """
        found = self._value.get(name)
        if found is None and default is not None:
            return default
        number = _as_whole(found)
        if number is None:
            raise _unfit(name, "a whole number", found)
        return number

    def count(self, name: str, default: int | None = None, most: int = EXACT) -> int:
        """Return a member that is a whole number from 0 to *most*.

        Raises:
            ValueError: As `whole`.
        """
        number = self.whole(name, default)
        if not 0 <= number <= most:
            raise _unfit(name, f"0 to {most}", number)
        return number

    def maybe_whole(self, name: str) -> int | None:
        """Return the same, or None if it is not there."""
        return self.whole(name) if self.has(name) else None

    def value(self, name: str) -> Value:
        """Return a member of any type, as a record holds it: lists as tuples."""
        return _held(self._value.get(name))

    def mapping(self, name: str) -> dict[str, Value]:
        """Return a member that is an object, its values as a record holds them.

        Raises:
            ValueError: It is something else. If it is not there, it is empty.
        """
        return {key: _held(each) for key, each in self.object(name).items()}

    def is_mapping(self, name: str) -> bool:
        """Return whether a member is an object."""
        return isinstance(self._value.get(name), Mapping)

    def objects(self, name: str) -> list[Mapping[str, object]]:
        """Return a member that is an array of objects.

        Raises:
            ValueError: It is something else. If it is not there, it is empty.
        """
        found = self._value.get(name)
        if found is None:
            return []
        if not _is_array_of_objects(found):
            raise _unfit(name, "an array of objects", found)
        return found

    def object(self, name: str) -> Mapping[str, object]:
        """Return a member that is an object.

        Raises:
            ValueError: It is something else. If it is not there, it is empty.
        """
        found = self._value.get(name)
        if found is None:
            return {}
        if not isinstance(found, Mapping):
            raise _unfit(name, "an object", found)
        return cast("Mapping[str, object]", found)

    def id(self, name: str, size_bytes: int) -> bytes:
        """Return a member that is an id in hexadecimal digits; zeros if it is not there.

        Raises:
            ValueError: It is something else.
        """
        digits = self.text(name, "") or "00" * size_bytes
        try:
            found = bytes.fromhex(digits)
        except ValueError:
            found = b""
        if len(found) != size_bytes:
            raise _unfit(name, f"{2 * size_bytes} hexadecimal digits", digits)
        return found


def _as_whole(value: object) -> int | None:
    """Return a whole number, also of a text of digits; None for all else."""
    if isinstance(value, str):
        return int(value) if _DIGITS.fullmatch(value) else None
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def check_time(timestamp_ns: int) -> int:
    """Return a timestamp that a date can show.

    Raises:
        ValueError: There is no such date.
    """
    if not _YEAR_1_NS <= timestamp_ns <= _YEAR_9999_NS:
        raise ValueError(f"the time {timestamp_ns} ns is in no year from 1 to 9999")
    return timestamp_ns


def _is_array_of_objects(value: object) -> TypeGuard[list[Mapping[str, object]]]:
    return isinstance(value, list) and all(
        isinstance(each, Mapping) for each in cast("list[object]", value)
    )


def _held(value: object) -> Value:
    if isinstance(value, list):
        return tuple(map(_held, cast("list[object]", value)))
    if isinstance(value, Mapping):
        pairs = cast("Mapping[str, object]", value).items()
        return {key: _held(each) for key, each in pairs}
    return cast("Value", value)


def _unfit(name: str, expected: str, got: object) -> ValueError:
    if got is None:
        return ValueError(f"{name} is missing: expected {expected}")
    return ValueError(f"{name}: expected {expected}, got {json.dumps(got)[:60]}")
