"""What a Loki with default limits would refuse, or store as something else.

`LokiRules` is given the requests that a receiver got, and says what Loki 3.7 would
object to. Where Loki stores something and says nothing, but not what was sent, that is
an objection too.
"""

from __future__ import annotations

import math
import re
import time
from collections import Counter
from typing import TYPE_CHECKING, Final, NamedTuple

from google.protobuf.message import (  # type: ignore[import-untyped]
    DecodeError,
)
from loki_entries import (
    labels_and_metadata,
    normalised,
    of_record,
    of_scope,
    rendered,
    time_ns_of,
)
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from opentelemetry.proto.common.v1.common_pb2 import AnyValue
    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["LokiRules", "Objection"]

METADATA_ENTRIES: Final = 128
METADATA_BYTES: Final = 64 * 1024
LINE_BYTES: Final = 256 * 1024
PUSH_BYTES: Final = 4 * 1024 * 1024
LABELS: Final = 15
LABEL_NAME_BYTES: Final = 1024
LABEL_VALUE_BYTES: Final = 2048
OLDEST_SECONDS: Final = 7 * 24 * 3600
FUTURE_SECONDS: Final = 600
BEHIND_SECONDS: Final = 3600

LEVEL_NAMES: Final = frozenset(
    {
        "level", "LEVEL", "Level", "log_level", "severity", "SEVERITY", "Severity",
        "SeverityText", "lvl", "LVL", "Lvl", "Severity_Text", "SEVERITY_TEXT",
        "detected_level",
    }
)  # fmt: skip
"""Loki takes the level from the first of these that it finds."""

LOKIS_NAMES: Final = frozenset(
    {
        "severity_number", "severity_text", "trace_id", "span_id", "flags",
        "observed_timestamp", "dropped_attributes_count", "scope_name",
        "scope_version", "scope_dropped_attributes_count", "service_name",
    }
)  # fmt: skip
"""What Loki itself calls what is no attribute."""

OUR_KEYS: Final = {
    re.sub(r"\W", "_", key): key
    for key in (
        "task_id", "task_parent_id",
        "asyncio.task.id", "asyncio.task.name", "asyncio.task.parent_id",
        "exception.type", "exception.message", "exception.stacktrace",
        "code.file.path", "code.function.name", "code.line.number", "code.stacktrace",
        "thread.id", "thread.name", "process.pid",
    )
}  # fmt: skip
"""Our attributes, by what Loki makes of their keys."""


class Objection(NamedTuple):
    """Something that Loki refuses, or changes and does not say so.

    Attributes:
        rule: Which one, in a word or two.
        why: What of it.
        record: Whose; None if it is the whole request's.
    """

    rule: str
    why: str
    record: LogRecord | None


class LokiRules:
    """Judges requests in the order in which they came.

    Args:
        clock: Seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._newest: dict[tuple[tuple[str, str], ...], int] = {}
        self._seen: set[tuple[object, ...]] = set()

    def judge(self, body: bytes) -> list[Objection]:
        """Return the objections to a request, as it stands on the wire."""
        try:
            request = ExportLogsServiceRequest.FromString(body)
        except DecodeError as error:
            return [Objection("no message", f"{error}", None)]
        objections: list[Objection] = []
        records, size = 0, 0
        for resource_logs in request.resource_logs:
            labels, shared = labels_and_metadata(resource_logs.resource)
            stream = tuple(sorted(labels))
            objections += _about_labels(labels)
            for scope_logs in resource_logs.scope_logs:
                scope = [*shared, *of_scope(scope_logs.scope)]
                for record in scope_logs.log_records:
                    records += 1
                    line = rendered(record.body)
                    metadata = [*of_record(record), *scope]
                    size += _entry_bytes(line, metadata)
                    found = [
                        *_about_keys(record),
                        *_about_metadata(metadata, labels),
                        *_about_texts(record, line),
                        *self._about_time(record, stream),
                        *self._about_twins(record, stream, line, metadata),
                    ]
                    objections += [Objection(*each, record) for each in found]
        if not records:
            objections.append(Objection("empty", "no records: 422", None))
        if size > PUSH_BYTES:
            objections.append(Objection("push size", f"{size} bytes: 503", None))
        return objections

    def _about_time(
        self, record: LogRecord, stream: tuple[tuple[str, str], ...]
    ) -> Iterator[tuple[str, str]]:
        now_ns = int(self._clock() * 1e9)
        time_ns = time_ns_of(record) or now_ns
        behind = self._newest.get(stream, time_ns) - time_ns
        if time_ns < now_ns - OLDEST_SECONDS * 10**9:
            yield "too old", f"{time_ns}"
        elif time_ns > now_ns + FUTURE_SECONDS * 10**9:
            yield "too new", f"{time_ns}"
        elif behind > BEHIND_SECONDS * 10**9:
            yield "too far behind", f"{behind / 1e9:.0f} s behind its stream's newest"
        else:
            self._newest[stream] = max(self._newest.get(stream, 0), time_ns)

    def _about_twins(
        self,
        record: LogRecord,
        stream: tuple[tuple[str, str], ...],
        line: str,
        metadata: list[tuple[str, str]],
    ) -> Iterator[tuple[str, str]]:
        entry = (stream, time_ns_of(record), hash(line), hash(frozenset(metadata)))
        if entry in self._seen:
            yield "twin", "equal in time, line and metadata to another: kept once"
        self._seen.add(entry)


def _entry_bytes(line: str, metadata: list[tuple[str, str]]) -> int:
    """Return what an entry takes where Loki hands it on to itself."""
    return 20 + _bytes(line) + sum(8 + _bytes(n) + _bytes(v) for n, v in metadata)


def _bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _about_labels(labels: list[tuple[str, str]]) -> Iterator[Objection]:
    if len(labels) - 1 > LABELS:  # that of the service is not counted
        yield Objection("labels", f"{len(labels)} of them", None)
    for name, value in labels:
        if _bytes(name) > LABEL_NAME_BYTES:
            yield Objection("label name", f"{name[:40]}…", None)
        if _bytes(value) > LABEL_VALUE_BYTES:
            yield Objection("label value", f"{name} has {_bytes(value)} bytes", None)


def _about_keys(record: LogRecord) -> Iterator[tuple[str, str]]:
    for attribute in record.attributes:
        name, key = normalised(attribute.key), attribute.key
        if not name:
            yield "key", f"{key[:40]!r} has no letter and no digit: the request is lost"
        elif name in LEVEL_NAMES:
            yield "level", f"{key!r} says what the level is"
        elif name in LOKIS_NAMES:
            yield "name", f"{key!r} is Loki's own"
        elif OUR_KEYS.get(name, key) != key:
            yield "name", f"{key!r} is stored as our {OUR_KEYS[name]!r}"


def _about_metadata(
    metadata: list[tuple[str, str]], labels: list[tuple[str, str]]
) -> Iterator[tuple[str, str]]:
    if len(metadata) > METADATA_ENTRIES:
        yield "metadata count", f"{len(metadata)} entries"
    size = sum(_bytes(name) + _bytes(value) for name, value in metadata)
    if size > METADATA_BYTES:
        yield "metadata size", f"{size} bytes"
    known = Counter(dict.fromkeys((name for name, _ in labels), 1))
    known.update(name for name, _ in metadata if name)
    for name, times in known.items():
        if times > 1:
            yield "collision", f"{times} things are stored as {name[:60]!r}"


def _about_texts(record: LogRecord, line: str) -> Iterator[tuple[str, str]]:
    if _bytes(line) > LINE_BYTES:
        yield "line", f"{_bytes(line)} bytes"
    values = [("the body", record.body), *((a.key, a.value) for a in record.attributes)]
    for name, value in values:
        if _is_nested(value):
            for why in _about_nested(value, is_flat=name != "the body"):
                yield "nested", f"{name[:40]!r}: {why}"


def _is_nested(value: AnyValue) -> bool:
    return value.HasField("array_value") or value.HasField("kvlist_value")


def _about_nested(value: AnyValue, *, is_flat: bool) -> Iterator[str]:
    """Say what is lost inside a value; it is flat where its leaves are entries."""
    if value.HasField("kvlist_value"):
        pairs = value.kvlist_value.values
        if len({each.key for each in pairs}) < len(pairs):
            yield "a key twice: one is lost"
        values = [each.value for each in pairs]
    else:
        is_flat = False
        values = list(value.array_value.values)
    for item in values:
        if _is_nested(item):
            yield from _about_nested(item, is_flat=is_flat)
        elif not (
            is_flat
            or not item.HasField("double_value")
            or math.isfinite(item.double_value)
        ):
            yield f"{item.double_value} leaves all of it empty"
