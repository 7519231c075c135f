"""Protobuf's wire, as far as OTLP's logs need it: numbers, values, attributes.

What depends on a length or a key alone is made once: the bytes before a text of so
many bytes, for example, or before an attribute's value.

See https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Mapping

    from otel_tasklog.capture._values import Value

__all__ = [
    "INT64",
    "REMEMBERED",
    "SHORT",
    "UINT64",
    "Key",
    "Keys",
    "Prefixes",
    "TextPrefixes",
    "any_value",
    "double",
    "field",
    "key_values",
    "small",
    "varint",
]

REMEMBERED: Final = 8_192
"""Keys, and what else repeats, whose bytes are kept; of more, it starts anew."""

SHORT: Final = 64
"""What comes before a shorter value is kept, for each key."""

INT64: Final = 1 << 63
UINT64: Final = (1 << 64) - 1
double: Final = struct.Struct("<d").pack


class _LastBits(dict[int, bytes]):
    """The end of a varint: its highest bits, up to 14, made when first asked for.

    Of a number below 1 << 14 it is the whole.
    """

    def __missing__(self, bits: int) -> bytes:
        whole = (bits & 0x7F | 0x80, bits >> 7) if bits >= 0x80 else (bits,)
        self[bits] = end = bytes(whole)
        return end


class _MoreBits(dict[int, bytes]):
    """Two bytes of a varint that goes on, by their 14 bits."""

    def __missing__(self, bits: int) -> bytes:
        self[bits] = pair = bytes((bits & 0x7F | 0x80, bits >> 7 | 0x80))
        return pair


small: Final = _LastBits()
_more: Final = _MoreBits()


def varint(number: int) -> bytes:
    """Encode a number that is not negative."""
    if number < 0x4000:
        return small[number]
    start = _more[number & 0x3FFF]
    number >>= 14
    if number < 0x4000:
        return start + small[number]
    start += _more[number & 0x3FFF]
    number >>= 14
    if number < 0x4000:
        return start + small[number]
    return start + _more[number & 0x3FFF] + varint(number >> 14)


def field(tag: bytes, payload: bytes) -> bytes:
    """Encode a field of a length: a text, bytes, a message."""
    return b"".join((tag, varint(len(payload)), payload))


def any_value(value: Value) -> bytes:
    """Encode an ``AnyValue``. None is the empty one."""
    if type(value) is str:
        return field(b"\x0a", value.encode())
    if type(value) is bool:
        return b"\x10\x01" if value else b"\x10\x00"
    if type(value) is int:
        if -INT64 <= value < INT64:
            return b"\x18" + varint(value & UINT64)
        return field(b"\x0a", _decimal(value))
    if type(value) is float:
        return b"\x21" + double(value)
    if type(value) is tuple:
        items = b"".join(field(b"\x0a", any_value(item)) for item in value)
        return field(b"\x2a", items)
    if type(value) is dict:
        pairs = b"".join(
            field(b"\x0a", _key_value(key, item)) for key, item in value.items()
        )
        return field(b"\x32", pairs)
    if type(value) is bytes:
        return field(b"\x3a", value)
    return b""


def _decimal(value: int) -> bytes:
    try:
        return str(value).encode()
    except ValueError:  # longer than sys.get_int_max_str_digits() allows
        return hex(value)[:4_096].encode()


def _key_value(key: str, value: Value) -> bytes:
    return field(b"\x0a", key.encode()) + field(b"\x12", any_value(value))


class Prefixes:
    """The bytes before a payload, by the payload's length.

    Args:
        tag: What they start with.
        remembered: From this length on payloads are rare, and theirs not kept.

    Attributes:
        known: By the length, those that were asked for; an empty one for any other.
    """

    def __init__(self, tag: bytes, remembered: int = 1_024) -> None:
        self._tag = tag
        self._remembered = remembered
        self.known: list[bytes] = [b""] * remembered

    def of(self, length: int) -> bytes:
        """Return them."""
        if length >= self._remembered:
            return self._make(length)
        prefix = self.known[length]
        if not prefix:
            self.known[length] = prefix = self._make(length)
        return prefix

    def _make(self, length: int) -> bytes:
        return self._tag + varint(length)


class TextPrefixes(Prefixes):
    """The bytes before an ``AnyValue`` field that is a text."""

    def _make(self, length: int) -> bytes:
        text = b"\x0a" + varint(length)
        return b"".join((self._tag, varint(len(text) + length), text))


class Key(Prefixes):
    """For one attribute's key: the bytes before its value, if that is a text.

    Attributes:
        integers: Those before an integer, by its length.
        double: Those before a float.
        booleans: The whole attribute with False, and with True.
    """

    def __init__(self, key: str) -> None:
        super().__init__(b"\x32", remembered=SHORT)
        self._name = field(b"\x0a", key.encode())
        self.integers: Final = [self._before(b"\x18", length) for length in range(11)]
        self.double: Final = self._before(b"\x21", 8)
        self.booleans: Final = (self.attribute(value=False), self.attribute(value=True))

    def _before(self, start: bytes, length: int) -> bytes:
        value = b"\x12" + varint(len(start) + length) + start
        whole = varint(len(self._name) + len(value) + length)
        return b"".join((self._tag, whole, self._name, value))

    def _make(self, length: int) -> bytes:
        return self._before(b"\x0a" + varint(length), length)

    def whole(self, value: Value) -> bytes:
        """Return the whole attribute; of a bool quicker than of others."""
        if type(value) is bool:
            return self.booleans[value]
        return self.attribute(value)

    def attribute(self, value: Value) -> bytes:
        """Return the whole attribute, whatever its value is."""
        return self._before(any_value(value), 0)


class Keys(dict[tuple[str, ...], tuple[Key, ...]]):
    """The keys of records that have the same ones, in their order."""

    def __init__(self) -> None:
        super().__init__()
        self._each: dict[str, Key] = {}

    def __missing__(self, names: tuple[str, ...]) -> tuple[Key, ...]:
        if len(self) >= REMEMBERED or len(self._each) >= REMEMBERED:
            self.clear()
            self._each.clear()
        for name in names:
            if name not in self._each:
                self._each[name] = Key(name)
        keys = self[names] = tuple(self._each[name] for name in names)
        return keys


def key_values(tag: bytes, values: Mapping[str, Value]) -> bytes:
    """Encode a repeated ``KeyValue`` field, without what is None."""
    return b"".join(
        field(tag, _key_value(k, v)) for k, v in values.items() if v is not None
    )
