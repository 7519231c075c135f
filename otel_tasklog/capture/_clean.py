"""What a finished record may hold: valid text, no secrets, no more than is taken.

Runs where a record is resolved, on what the call copied, and never raises. The limits
are those of a default Loki, which refuses what is beyond them: it flattens nested
mappings, counts their leaves with the resource's attributes and our own, and measures
all of them as texts.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any, Final, NamedTuple, cast

from otel_tasklog.capture._names import clean_text, distinct, normal
from otel_tasklog.capture._plain import MARK_CHARACTERS, cut, whole_length
from otel_tasklog.capture._redact import REDACTED

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.capture._names import AttributeNames
    from otel_tasklog.capture._redact import Redactor
    from otel_tasklog.capture._values import Value

__all__ = ["Cleaner", "Limits"]

NAME_CHARACTERS: Final = 1_024
"""A longer task id, logger's name, file name and the like is cut."""

_LEAST_BYTES: Final = 256
"""An attribute that would have to be cut to less is left out instead."""

_LONGER_IN_GO: Final = ("\\b", "\\f", "\u2028", "\u2029")
_NUMBER_BYTES: Final = 24
_HEX_DIGITS: Final = 4_096
_LONGEST_DECIMAL_BITS: Final = 13_000  # Python refuses to print more
_NOTHING: Final = object()
_DIVISIBLE: Final = frozenset({str, tuple, dict})


class Limits(NamedTuple):
    """How much of what an application logs goes out with a record.

    Attributes:
        attributes: How many, each leaf of a nested mapping counted.
        value_characters: Of one of them; of bytes so many bytes.
        attributes_bytes: Of all of them, their names included.
        body_bytes: Of the body, as text.
    """

    attributes: int = 80
    value_characters: int = 16_384
    attributes_bytes: int = 44 * 1024
    body_bytes: int = 200 * 1024


class _Room:
    """What the attributes of one record may still take.

    Attributes:
        attributes: So many more.
        size_bytes: So many bytes.
        dropped: How many were left out.
    """

    __slots__ = ("_names", "_seen", "attributes", "dropped", "size_bytes")

    def __init__(self, limits: Limits, taken_bytes: int, names: Sequence[str]) -> None:
        self.attributes = limits.attributes
        self.size_bytes = max(limits.attributes_bytes - taken_bytes, _LEAST_BYTES)
        self.dropped = 0
        self._names = names
        self._seen: set[str] = set()

    @property
    def seen(self) -> set[str]:
        """What their names come to in Loki. Few records need it."""
        if not self._seen:
            self._seen.update(map(normal, self._names))
        return self._seen


class Cleaner:
    """Cleans texts, bodies and attributes. Safe to use from any thread.

    Args:
        names: Decides what keys become, and which hold secrets.
        redactor: Finds secrets in texts.
        limits: What may go out.

    Attributes:
        limits: Those.
        redacts: Whether texts are searched for secrets: each must pass by here.
    """

    def __init__(
        self, names: AttributeNames, redactor: Redactor, limits: Limits
    ) -> None:
        self.limits: Final = limits
        self.redacts: Final = redactor.has_patterns
        self._redact = redactor.text
        self._names = names

    def text(self, text: str) -> str:
        """Return a text without secrets, as valid Unicode."""
        return clean_text(self._redact(text) if self.redacts else text)

    def name(self, text: str) -> str:
        """Return what names something: a task, a logger, a file."""
        return self.text(cut(text, NAME_CHARACTERS))

    def message(self, text: str, size_bytes: int | None = None) -> str:
        """Return a body's text, or another one's that may take so many bytes."""
        return _cut_bytes(self.text(text), size_bytes or self.limits.body_bytes)

    def body(self, mapping: dict[str, Value]) -> tuple[str, dict[str, Value]]:
        """Return a body's text, and the body."""
        body = cast("dict[str, Value]", self._inner(mapping))
        if _json_bytes(body) > self.limits.body_bytes:
            body = cast("dict[str, Value]", _trimmed(body, self.limits.body_bytes))
        return json.dumps(body, ensure_ascii=False, default=str), body

    def shown(self, value: Value) -> Value:
        """Return a nested value that becomes a text, without secrets."""
        return self._inner(value)

    def middle(self, text: str, size_bytes: int) -> str:
        """Return a text; of a huge one the two ends, which tell a stack's story."""
        text = self.text(text)
        data = text.encode()
        if len(data) <= size_bytes:
            return text
        half = (size_bytes - MARK_CHARACTERS) // 2
        start = data[:half].decode(errors="ignore")
        end = data[-half:].decode(errors="ignore")
        gone = len(text) - len(start) - len(end)
        return f"{start}\n… [{gone} characters cut]\n{end}"

    def attributes(
        self, names: tuple[str, ...], values: Sequence[Value], taken_bytes: int
    ) -> tuple[tuple[str, ...], tuple[Value, ...], int]:
        """Return what goes out of a record's attributes, and how many do not.

        Args:
            names: As they go out, distinct.
            values: Theirs, secrets taken out by their names.
            taken_bytes: What the record's other attributes take.
        """
        room = _Room(self.limits, taken_bytes, names)
        kept: list[str] = []
        cleaned: list[Any] = []
        for name, value in zip(names, values, strict=True):
            fitted = self._fit(value, name, room)
            if fitted is _NOTHING:
                room.dropped += 1
            else:
                kept.append(name)
                cleaned.append(fitted)
        # Of the usual record the names are shared with others.
        return names if len(kept) == len(names) else (*kept,), (*cleaned,), room.dropped

    def _fit(self, value: Value, path: str, room: _Room) -> Any:  # noqa: ANN401
        """Return a value as far as there is room for it, or `_NOTHING`."""
        if type(value) is dict:
            return self._fit_mapping(value, f"{normal(path)}_", room)
        if room.attributes <= 0 or room.size_bytes <= 0:
            return _NOTHING
        fitted = self._inner(value) if type(value) is tuple else self._leaf(value)
        size = len(path) + _shown_bytes(fitted)
        if size > room.size_bytes:
            left = room.size_bytes - len(path)
            if left < _LEAST_BYTES or type(fitted) not in _DIVISIBLE:
                return _NOTHING
            # By itself it is a text, in a sequence a part of one that is JSON.
            if type(fitted) is str:
                fitted = _cut_bytes(fitted, left)
            else:
                fitted = _trimmed(fitted, left)
            size = room.size_bytes
        room.attributes -= 1
        room.size_bytes -= size
        return fitted

    def _fit_mapping(
        self, mapping: dict[str, Value], around: str, room: _Room
    ) -> dict[str, Value]:
        fitted: dict[str, Value] = {}
        for key, item in mapping.items():
            name = self._names.unmistaken(key, around)
            name = distinct(name, room.seen, around)
            path = normal(f"{around}{name}")
            kept = self._fit(REDACTED if self._names[key][1] else item, path, room)
            if kept is _NOTHING:
                room.dropped += 1
            else:
                room.seen.add(path)
                fitted[name] = kept
        return fitted

    def _inner(self, value: Value, *, among: bool = False) -> Value:
        """Return a value that Loki makes JSON of, in a body or in a sequence.

        Args:
            value: The value.
            among: Whether it is one of a sequence, where a pair may be a header.
        """
        if type(value) is dict:
            inner: dict[str, Value] = {}
            for key, item in value.items():
                text, number = clean_text(key), 1
                while text in inner:
                    number += 1
                    text = f"{clean_text(key)}_{number}"
                inner[text] = REDACTED if self._names[key][1] else self._inner(item)
            return inner
        if type(value) is tuple:
            if among and len(value) == 2 and self._is_secret(value[0]):
                return self._inner(value[0]), REDACTED
            return tuple([self._inner(item, among=True) for item in value])
        if type(value) is float and not math.isfinite(value):
            # JSON has no such number. Loki would keep nothing of the whole.
            return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"
        return self._leaf(value)

    def _is_secret(self, key: Value) -> bool:
        if type(key) is bytes:
            key = key.decode("latin-1")
        return type(key) is str and self._names[key][1]

    def _leaf(self, value: Value) -> Value:
        characters = self.limits.value_characters
        if type(value) is str:
            text = cut(self._redact(value) if self.redacts else value, characters)
            if text.isascii():
                return text
            try:
                text.encode()
            except UnicodeEncodeError:  # by the specification
                return _bytes_of(text)
            return text
        if type(value) is bytes:
            if self.redacts:
                text = value.decode("latin-1")
                redacted = self._redact(text)
                if redacted is not text:
                    value = redacted.encode("latin-1", "replace")
            return value[:characters]
        if type(value) is int and value.bit_length() > _LONGEST_DECIMAL_BITS:
            return hex(value)[:_HEX_DIGITS]
        return value


def _bytes_of(text: str) -> bytes:
    """Return the bytes of a text that is no Unicode: those it was decoded from."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def _cut_bytes(text: str, size_bytes: int) -> str:
    """Return *text*, cut to a size in UTF-8 with a mark that says how much is gone."""
    if 4 * len(text) <= size_bytes:
        return text
    data = text.encode()
    if len(data) <= size_bytes:
        return text
    kept = data[: max(size_bytes - MARK_CHARACTERS, 0)].decode(errors="ignore")
    return f"{kept}… [{whole_length(text) - len(kept)} characters cut]"


def _trimmed(value: Value, size_bytes: int) -> Value:
    """Return the start of a value whose JSON is too large, with marks of the cuts."""
    if type(value) is str:
        shorter, longest = value, size_bytes
        while _json_bytes(shorter) > size_bytes and longest > MARK_CHARACTERS:
            shorter = _cut_bytes(value, longest)
            longest //= 2  # of control characters each takes six
        return shorter
    left = size_bytes - MARK_CHARACTERS
    if type(value) is dict:
        mapping: dict[str, Value] = {}
        for key, item in value.items():
            left -= _json_bytes({key: None})
            kept = _started(item, left)
            if kept is _NOTHING:
                mapping["…"] = f"[{len(value) - len(mapping)} items cut]"
                break
            mapping[key] = kept
            left -= _json_bytes(kept)
        return mapping
    if type(value) is tuple:
        items: list[Value] = []
        for item in value:
            kept = _started(item, left)
            if kept is _NOTHING:
                return (*items, f"… [{len(value) - len(items)} items cut]")
            items.append(kept)
            left -= _json_bytes(kept) + 1
        return tuple(items)
    return value


def _started(value: Value, size_bytes: int) -> Any:  # noqa: ANN401
    """Return as much of a value as fits, or `_NOTHING`."""
    if _json_bytes(value) <= size_bytes:
        return value
    fits = size_bytes >= _LEAST_BYTES and type(value) in _DIVISIBLE
    return _trimmed(value, size_bytes) if fits else _NOTHING


def _as_text(value: object) -> str:
    """Return bytes, which JSON has not, as long as they are in base64."""
    return repr(value) if type(value) is not bytes else "x" * (4 * len(value) // 3 + 4)


def _json_bytes(value: Value) -> int:
    """Return how long its JSON is, as Go writes it."""
    text = json.dumps(value, ensure_ascii=False, default=_as_text)
    longer = sum(map(text.count, _LONGER_IN_GO))
    return len(text.encode()) + 4 * longer


def _shown_bytes(value: Value) -> int:
    """Return how long the text is at most that Loki makes of a value."""
    if type(value) is str:
        return len(value) if value.isascii() else len(value.encode())
    if type(value) is bytes:
        return 4 * len(value) // 3 + 4
    if type(value) is tuple:
        return _json_bytes(value)
    if type(value) is int and value.bit_length() > 63:
        return value.bit_length() // 3 + 2
    return _NUMBER_BYTES
