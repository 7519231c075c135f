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
from typing import TYPE_CHECKING, Final, cast

from otel_tasklog.capture._plain import text_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.capture._record import TaskRecord

__all__ = ["EXACT", "Run", "dumps", "plain", "record_json"]

EXACT: Final = 2**53 - 1
"""The highest integer that every reader of JSON has exactly."""

_ID: Final = re.compile(r"([0-9]{1,16})-[0-9a-f]{9,24}", re.ASCII)
_NS: Final = 1_000_000_000
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


def record_json(record: TaskRecord, run: Run) -> dict[str, object]:
    """Return a record as a value for `dumps`.

    Args:
        record: The record.
        run: Makes the ``id``.
    """
    fields = dict(record.to_dict())
    del fields["sequence"], fields["timestamp_ns"]
    if not isinstance(fields.get("body"), Mapping):
        fields.pop("body", None)
    if record.trace_id is not None:
        fields["trace_flags"] = record.trace_flags
    return {
        "id": run.id_of(record.sequence),
        "sequence": record.sequence,
        "timestamp_ns": str(record.timestamp_ns),
        "time": _iso(record.timestamp_ns),
        "message": record.message,
        **{name: plain(value) for name, value in fields.items()},
    }


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
    text = json.dumps(value, allow_nan=False, separators=(",", ":"))
    return text.replace("\x7f", "\\u007f").encode()


def _field(name: str, value: object) -> object:
    return str(value) if name.endswith("_ns") and value is not None else plain(value)


def _iso(timestamp_ns: int) -> str:
    seconds, rest = divmod(timestamp_ns, _NS)
    moment = _EPOCH + datetime.timedelta(seconds=seconds)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{rest:09}Z"
