"""What a row of the table is: a record with something odd in it, and what becomes of it."""

from __future__ import annotations

import datetime
import json
import re
import time
from typing import TYPE_CHECKING, Final, NamedTuple, TypeAlias

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable, Mapping

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = [
    "NOTHING",
    "Case",
    "Look",
    "Seen",
    "at",
    "attributes",
    "body",
    "cut",
    "event_name",
    "logger",
    "resource",
    "severity",
    "show",
    "text_at",
    "timestamp",
]

NOTHING: Final = "nothing"
_ADDRESS: Final = re.compile(r"0x[0-9a-f]{6,}>")
_SHOWN_CHARACTERS: Final = 64
_SHOWN_ITEMS: Final = 6
_SHOWN_LEVELS: Final = 5
_YEAR_HOURS: Final = 8766


class Seen(NamedTuple):
    """A record as the receiver decoded it."""

    record: LogRecord
    logger: str
    resource: Mapping[str, AnyValue]

    @property
    def attributes(self) -> dict[str, AnyValue]:
        return {pair.key: pair.value for pair in self.record.attributes}


Look: TypeAlias = "Callable[[Seen], str]"
"""Shows what a case is about in a record that arrived."""


def show(value: AnyValue | None) -> str:
    """Return a value as the table has it: as JSON has it, but for bytes and doubles."""
    kind = value.WhichOneof("value") if value is not None else NOTHING
    if value is None or kind is None:
        return kind or "null"
    if kind == "string_value":
        return show_text(value.string_value)
    if kind == "bytes_value":
        return _show_bytes(value.bytes_value)
    if kind == "bool_value":
        return "true" if value.bool_value else "false"
    if kind in {"array_value", "kvlist_value"}:
        return _show_nested(value)
    return repr(getattr(value, kind))


def show_text(text: str) -> str:
    text = _ADDRESS.sub("0x…>", text)
    if len(text) <= _SHOWN_CHARACTERS:
        return json.dumps(text, ensure_ascii=False)
    ends = json.dumps(f"{text[:12]}…{text[-36:]}", ensure_ascii=False)
    return f"{ends}, {len(text):,} characters"


def _show_bytes(data: bytes) -> str:
    if len(data) <= _SHOWN_CHARACTERS:
        return repr(data)
    return f"{data[:4]!r}…, {len(data):,} bytes"


def _items(value: AnyValue) -> list[AnyValue]:
    if value.WhichOneof("value") == "array_value":
        return list(value.array_value.values)
    return [pair.value for pair in value.kvlist_value.values]


def _show_nested(value: AnyValue) -> str:
    levels, innermost = 1, value
    while _items(innermost) and _items(_items(innermost)[-1]):
        levels, innermost = levels + 1, _items(innermost)[-1]
    if levels > _SHOWN_LEVELS:
        return f"{levels} levels, the last of them {show(innermost)}"
    if value.WhichOneof("value") == "array_value":
        shown = [show(each) for each in _items(value)[:_SHOWN_ITEMS]]
        opened, closed = "[", "]"
    else:
        pairs = value.kvlist_value.values[:_SHOWN_ITEMS]
        shown = [f"{show_text(pair.key)}: {show(pair.value)}" for pair in pairs]
        opened, closed = "{", "}"
    count = len(_items(value))
    if count <= _SHOWN_ITEMS:
        return f"{opened}{', '.join(shown)}{closed}"
    last = f", {show(_items(value)[-1])}" if opened == "[" else ""
    return f"{opened}{', '.join(shown[:3])}, …{last}{closed}, {count:,} items"


def at(key: str) -> Look:
    """Show the attribute of a key."""
    return lambda seen: show(seen.attributes.get(key))


def resource(key: str) -> Look:
    """Show an attribute of the resource."""
    return lambda seen: show(seen.resource.get(key))


def body(seen: Seen) -> str:
    return show(seen.record.body)


def logger(seen: Seen) -> str:
    return show_text(seen.logger)


def event_name(seen: Seen) -> str:
    return show_text(seen.record.event_name)


def severity(seen: Seen) -> str:
    record = seen.record
    return f"{show_text(record.severity_text)}, {record.severity_number}"


# What there is without any extras: the pipelines are to send the same of a record.
_OF_EVERY_RECORD: Final = re.compile(r"(code|thread|process|asyncio)\.")


def attributes(seen: Seen) -> str:
    """Show the keys and values of what was logged as extra, in their order."""
    pairs = [
        f"{show_text(key)}: {show(value)}"
        for key, value in seen.attributes.items()
        if not _OF_EVERY_RECORD.match(key)
    ]
    return f"{{{', '.join(pairs)}}}"


def timestamp(seen: Seen) -> str:
    """Show when it is said to have been logged, and what is said beside that."""
    nanoseconds = seen.record.time_unix_nano
    shown = _moment(nanoseconds / 1e9) if nanoseconds else "no time"
    said = seen.attributes.get("otel_tasklog.created")
    if said is None:
        return shown
    try:
        moment = datetime.datetime.fromisoformat(said.string_value)
    except ValueError:
        return f"{shown}, {show(said)}"
    return f"{shown}, {_moment(moment.timestamp())}"


def _moment(seconds: float) -> str:
    """Show a time by its date if it is far away, else relative to the clock."""
    hours = (seconds - time.time()) / 3600
    if abs(hours) < 0.1:
        return "the clock's time"
    if abs(hours) < 24:
        return f"{abs(hours):.1f} hours {'ago' if hours < 0 else 'from now'}"
    if abs(hours) < 12 * _YEAR_HOURS:
        return (
            f"{abs(hours) / _YEAR_HOURS:.0f} years {'ago' if hours < 0 else 'from now'}"
        )
    return datetime.datetime.fromtimestamp(seconds, datetime.UTC).date().isoformat()


_MARK: Final = re.compile(r"(.*?)… \[(\d+) (characters|bytes) cut\]", re.DOTALL)


def cut(text: str, limit_bytes: int, look: Callable[[Seen], str] | None = None) -> Look:
    """Show whether a text was cut, to no more than a size, with a mark that is right.

    Args:
        text: As it was logged.
        limit_bytes: The size.
        look: Returns what came of it; the body's text if there is none.
    """

    def judge(seen: Seen) -> str:
        came = look(seen) if look is not None else seen.record.body.string_value
        size = len(came.encode())
        found = _MARK.fullmatch(came)
        if found is None:
            return f"not cut, {size:,} bytes" if came else NOTHING
        kept, number, unit = found[1], int(found[2]), found[3]
        whole, rest = (
            (text, kept) if unit == "characters" else (text.encode(), kept.encode())
        )
        right = text.startswith(kept) and len(whole) == len(rest) + number
        return (
            f"cut to {'no ' if size <= limit_bytes else ''}more than {limit_bytes:,} bytes, "
            f"with a {'' if right else 'wrong '}mark"
        )

    return judge


def text_at(key: str) -> Callable[[Seen], str]:
    """Return what finds the text of an attribute."""
    return lambda seen: (
        seen.attributes[key].string_value if key in seen.attributes else ""
    )


class Case(NamedTuple):
    """One odd thing.

    Attributes:
        name: What is odd, as the table has it.
        log: Logs it.
        becomes: What is to come of it.
        look: Shows what came of it.
        raises: What the caller is to see all the same.
        lines: How many diagnostics it may cost.
        records: How many records it logs.
        resource: Attributes of the resource that it needs.
    """

    name: str
    log: Callable[[logging.Logger], object]
    becomes: str
    look: Look = at("value")
    raises: str = ""
    lines: int = 0
    records: int = 1
    resource: Mapping[str, str] = {}

    @property
    def is_one_record(self) -> bool:
        """Whether it can stand in a batch with other cases."""
        return self.records == 1 and not self.resource and not self.raises
