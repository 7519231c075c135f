"""Values: copied in the call, cleaned on the worker.

`snapshot` runs in the log call on what could change after it. Everything else
here runs where a record is resolved, decides once per attribute key, and never
raises, whatever a value does.
"""

from __future__ import annotations

import datetime
import enum
import re
from collections.abc import Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import islice
from typing import Final, TypeAlias, overload

__all__ = [
    "ATOMS",
    "BODY_CHARACTERS",
    "REDACTED",
    "STACKTRACE_CHARACTERS",
    "VALUE_CHARACTERS",
    "AttributeNames",
    "Value",
    "clean_text",
    "clean_value",
    "cut",
    "describe",
    "shown",
    "snapshot",
]

Value: TypeAlias = (
    "str | int | float | bytes | tuple[Value, ...] | dict[str, Value] | None"
)

ATOMS: Final = frozenset({str, int, float, bool, type(None), bytes})
"""Types whose values cannot change and hold nothing else alive."""

BODY_CHARACTERS: Final = 204_800
"""A longer text is cut. A default Loki refuses lines over 256 KiB."""

STACKTRACE_CHARACTERS: Final = 32_768
"""A longer stack trace loses its middle."""

VALUE_CHARACTERS: Final = 16_384
"""A longer attribute is cut. A default Loki refuses 64 KiB of them in all."""

NAME_CHARACTERS: Final = 256
"""A longer key is cut."""

_MARK_CHARACTERS: Final = 40

REDACTED: Final = "[redacted]"
MAX_DEPTH: Final = 32
MAX_ITEMS: Final = 1_000
MAX_TOTAL_ITEMS: Final = 10_000
"""Containers in one value, at all depths: shared ones count each time."""

# Words by which a key says that its value is nobody's to read. "tokens" and
# "token_count" are how language-model clients name a number, so they stay.
_SECRET: Final = re.compile(
    r"passw(or)?d|passphrase|passwd|(^|[^a-z])pwd|secret|authori[sz]ation|cookie|credential"
    r"|(api|access|private|signing|encryption)[-_. ]?key"
    r"|token(?!s|i[sz]|[-_. ]?(count|type|limit))"
    r"|session[-_. ]?(id|key)|^session$",
    re.IGNORECASE,
)
# Loki takes the level from the first of these that a record carries, and its
# own names lose against an attribute that normalises to the same.
_TAKEN: Final = frozenset(
    {
        "level", "lvl", "log_level", "severity", "severity_number", "severity_text",
        "detected_level", "trace_id", "span_id", "flags", "observed_timestamp",
        "scope_name", "scope_version", "service_name",
        "task_id", "task_parent_id", "asyncio_task_id", "asyncio_task_name",
        "asyncio_task_parent_id", "exception_type", "exception_message",
        "exception_stacktrace", "code_file_path", "code_function_name",
        "code_line_number", "code_stacktrace", "thread_id", "thread_name",
        "process_pid",
    }
)  # fmt: skip
_NAMES_REMEMBERED: Final = 4_096


def describe(value: object, error: BaseException) -> str:
    """Return the marker that stands for a value that could not be read."""
    return f"<{type(value).__qualname__}: {type(error).__qualname__} while reading>"


def shown(value: object) -> str:
    """Return the ``repr`` of a value, or the marker that it has none."""
    try:
        return repr(value)
    except Exception as error:  # noqa: BLE001 - a huge int has none
        return describe(value, error)


def cut(text: str, characters: int) -> str:
    """Return *text*, cut to *characters* with a mark that says how much is gone."""
    if len(text) <= characters + _MARK_CHARACTERS:  # also what was cut before
        return text
    return f"{text[:characters]}… [{len(text) - characters} characters cut]"


def snapshot(value: object) -> Value:
    """Return an immutable copy of *value*, as it is now. Never raises.

    Sequences and sets become tuples, mappings new dicts with text keys; what is
    neither these nor an atom becomes its text.
    """
    return _snapshot(value, 0, [MAX_TOTAL_ITEMS])


def _snapshot(value: object, depth: int, budget: list[int]) -> Value:
    if type(value) in ATOMS:
        return value  # type: ignore[return-value]
    if depth >= MAX_DEPTH:  # also what a cycle comes to
        return "<nested too deeply>"
    budget[0] -= 1
    if budget[0] < 0:
        return "<too many items>"
    try:
        return _copy(value, depth + 1, budget)
    except Exception as error:  # noqa: BLE001 - a record never fails
        return describe(value, error)


def _copy(value: object, depth: int, budget: list[int]) -> Value:
    # A class pattern says nothing of the items, so the annotations do.
    match value:
        case enum.Enum():
            return value.name
        case bool() | int() | float():  # subclasses; their own __str__ is not asked
            return float(value) if isinstance(value, float) else int(value)
        case str():
            return str.__str__(value)
        case bytes() | bytearray() | memoryview():
            data: bytes | bytearray | memoryview[int] = value  # pyright: ignore[reportUnknownVariableType]
            return bytes(data)
        case datetime.datetime() | datetime.date() | datetime.time():
            return value.isoformat()
        case Mapping():
            pairs: Mapping[object, object] = value  # pyright: ignore[reportUnknownVariableType]
            return {
                cut(key if type(key) is str else str(key), NAME_CHARACTERS): _snapshot(
                    item, depth, budget
                )
                for key, item in islice(pairs.items(), MAX_ITEMS)
            }
        case AbstractSet():
            members: AbstractSet[object] = value  # pyright: ignore[reportUnknownVariableType]
            return tuple(
                _snapshot(i, depth, budget)
                for i in sorted(members, key=repr)[:MAX_ITEMS]
            )
        case Sequence():
            items: Sequence[object] = value  # pyright: ignore[reportUnknownVariableType]
            return tuple(
                _snapshot(item, depth, budget) for item in islice(items, MAX_ITEMS)
            )
        case _:
            return cut(str(value), VALUE_CHARACTERS)


def clean_text(text: str) -> str:
    """Return *text* as valid Unicode; of a lone surrogate its number is shown."""
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "backslashreplace").decode()
    return text


class AttributeNames(dict[str, "tuple[str, bool]"]):
    """For each key that was ever logged: its name on the wire, and if it is secret.

    Decided once per key. Reading from several threads is safe: at worst two of
    them decide the same. Keys are often few; should an application make them up,
    the table starts anew.
    """

    def __missing__(self, key: str) -> tuple[str, bool]:
        """Decide for a key that is seen for the first time."""
        if len(self) >= _NAMES_REMEMBERED:
            self.clear()
        text = cut(key if type(key) is str else shown(key), NAME_CHARACTERS)
        name = clean_text(text)
        normal = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_")
        if not normal:  # Loki refuses the whole request for one such key
            name = f"attribute.{name.encode('ascii', 'backslashreplace').decode()}"
            name = name.replace("\\", "").rstrip("_.") or "attribute"
        elif normal.lower() in _TAKEN:
            name = f"extra.{name}"
        decided = name, _SECRET.search(text) is not None
        self[key] = decided
        return decided


@overload
def clean_value(value: dict[str, Value], names: AttributeNames) -> dict[str, Value]: ...
@overload
def clean_value(value: Value, names: AttributeNames) -> Value: ...
def clean_value(value: Value, names: AttributeNames) -> Value:
    """Return a snapshot with its texts valid and cut, and its secrets redacted."""
    if type(value) is str:
        return clean_text(cut(value, VALUE_CHARACTERS))
    if type(value) is bytes:
        return value[:VALUE_CHARACTERS]
    if type(value) is tuple:
        return tuple(clean_value(item, names) for item in value)
    if type(value) is int and value.bit_length() > 13_000:  # has no decimal text
        return hex(value)[:4_096]
    if type(value) is dict:
        return {
            clean_text(key): REDACTED if names[key][1] else clean_value(item, names)
            for key, item in value.items()
        }
    return value
