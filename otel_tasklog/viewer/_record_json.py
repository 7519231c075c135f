"""A record as JSON, for programs that are not Python.

The form is `TaskRecord.to_dict`'s, with these differences, all for the sake of
readers whose only number is a 64-bit float and whose only text is Unicode:

* ``id`` is first: the sequence and a mark of the process, distinct among them all.
* Each time, ``*_ns``, is a text of digits; ``time`` is the same in ISO 8601, UTC,
  with all nine decimals.
* ``message`` is always there; ``body`` only if a mapping was logged.
* An integer beyond 2**53 is a text of digits; NaN and the infinities are texts;
  bytes are Base64.

Guarantees: what is made is ASCII without control characters, on one line.
"""

from __future__ import annotations

import base64
import dataclasses
import datetime
import json
import math
import os
import re
import secrets
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, cast

from otel_tasklog.capture._plain import text_of
from otel_tasklog.capture._record import NO_REST, Origin, Rest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.capture._record import TaskRecord

__all__ = ["EXACT", "RecordEncoder", "Run", "dumps", "plain", "record_json"]

EXACT: Final = 2**53 - 1
"""The highest integer that every reader of JSON has exactly."""

_ID: Final = re.compile(r"([0-9]{1,16})-[0-9a-f]{9,24}", re.ASCII)
_NS: Final = 1_000_000_000
_WHO_NAMES: Final = (
    "task_id", "task_parent_id", "asyncio_task_number", "asyncio_task_name",
    "asyncio_task_parent_number",
)  # fmt: skip

REMEMBERED: Final = 1_024
"""Of each kind of what repeats, at most."""

_encode: Final = json.JSONEncoder(allow_nan=False, separators=(",", ":")).encode
_EPOCH: Final = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)


class Run:
    """What makes ids distinct among processes: a mark, another one after a fork."""

    def __init__(self) -> None:
        self._start = secrets.token_hex(4)

    def id_of(self, sequence: int) -> str:
        """Return the id of a record of this process."""
        return f"{sequence}-{self._start}{os.getpid():x}"

    def sequence_of(self, text: str) -> int | None:
        """Return the sequence of a record's id, None if another process's.

        Raises:
            ValueError: It is no id.
        """
        match = _ID.fullmatch(text)
        if match is None:
            raise ValueError(text)
        sequence = int(match[1])
        return sequence if text == self.id_of(sequence) else None


class RecordEncoder:
    """Encodes records as JSON, what repeats among them once.

    As the wire's encoder does: the call site, the identity of a task, the names of the
    attributes, the second. On one thread.

    Args:
        run: Makes each ``id``.
    """

    def __init__(self, run: Run) -> None:
        self._run = run
        self._origins = _Parts(Origin._fields)
        self._whos = _Parts(_WHO_NAMES)
        self._names = _Names()
        self._second: int | None = None
        self._second_text = ""

    def encode(self, record: TaskRecord) -> bytes:
        """Return a record as JSON of one line, in ASCII."""
        sequence, timestamp_ns = record.sequence, record.timestamp_ns
        parts = [
            f'{{"id":"{self._run.id_of(sequence)}","sequence":{sequence}',
            f',"timestamp_ns":"{timestamp_ns}","time":"{self._time(timestamp_ns)}"',
            f',"message":{_encode(record.message)}',
            self._origins[record.origin],
            self._whos[record.who],
        ]
        if record.trace_id is not None:
            parts.append(
                f',"trace_id":"{record.trace_id}","span_id":"{record.span_id}",'
                f'"trace_flags":{record.trace_flags}'
            )
        body = record.body
        if body and isinstance(body, Mapping):
            parts.append(f',"body":{_encode(plain(body))}')
        attributes = record.attributes
        if attributes:
            names = self._names
            pairs = [f"{names[k]}{_value(v)}" for k, v in attributes.items()]
            parts.append(f',"attributes":{{{",".join(pairs)}}}')
        rest = record.rest
        if rest != NO_REST:
            parts.append(_members(Rest._fields, rest))
        parts.append("}")
        return _ascii("".join(parts))

    def _time(self, timestamp_ns: int) -> str:
        second, rest = divmod(timestamp_ns, _NS)
        if second != self._second:
            moment = _EPOCH + datetime.timedelta(seconds=second)
            self._second, self._second_text = second, f"{moment:%Y-%m-%dT%H:%M:%S}"
        return f"{self._second_text}.{rest:09}Z"


class _Parts(dict["tuple[Any, ...]", str]):
    """For each part that records share, its members, a comma before each."""

    def __init__(self, names: Sequence[str]) -> None:
        super().__init__()
        self._names = names

    def __missing__(self, part: tuple[Any, ...]) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        encoded = self[part] = _members(self._names, part)
        return encoded


class _Names(dict[str, str]):
    """For each name of an attribute, what stands before its value."""

    def __missing__(self, name: str) -> str:
        if len(self) >= REMEMBERED:
            self.clear()
        encoded = self[name] = f"{_encode(name)}:"
        return encoded


def _members(names: Sequence[str], values: tuple[Any, ...]) -> str:
    pairs = zip(names, values, strict=True)
    return "".join([f',"{n}":{_value(v)}' for n, v in pairs if v is not None])


def _value(value: object) -> str:
    kind = type(value)
    if kind is int and -EXACT <= cast("int", value) <= EXACT:
        return repr(value)
    return _encode(value if kind is str else plain(value))


def record_json(record: TaskRecord, run: Run) -> dict[str, object]:
    """Return a record as a value for `dumps`.

    Args:
        record: The record.
        run: Makes the ``id``.
    """
    value: dict[str, object] = json.loads(RecordEncoder(run).encode(record))
    return value


def plain(value: object) -> object:
    """Return a value as JSON has it; see the module. A dataclass is its fields."""
    kind = type(value)
    if value is None or kind is str or kind is bool:
        return value
    if kind is int:
        return value if -EXACT <= cast("int", value) <= EXACT else text_of(value)
    if kind is float:
        return _number(cast("float", value))
    if kind is bytes:
        return base64.b64encode(cast("bytes", value)).decode()
    if issubclass(kind, Mapping):
        pairs = cast("Mapping[object, object]", value).items()
        return {text_of(name): plain(each) for name, each in pairs}
    if issubclass(kind, list | tuple):
        return [plain(each) for each in cast("Sequence[object]", value)]
    if dataclasses.is_dataclass(kind):
        names = [field.name for field in dataclasses.fields(kind)]
        return {name: _field(name, getattr(value, name)) for name in names}
    return text_of(value)


def _number(value: float) -> float | str:
    if math.isfinite(value):
        return value
    return "NaN" if math.isnan(value) else f"{'-' * (value < 0)}Infinity"


def dumps(value: object) -> bytes:
    """Return JSON of one line, in ASCII."""
    return _ascii(_encode(value))


def _ascii(text: str) -> bytes:
    return text.replace("\x7f", "\\u007f").encode()


def _field(name: str, value: object) -> object:
    return str(value) if name.endswith("_ns") and value is not None else plain(value)
