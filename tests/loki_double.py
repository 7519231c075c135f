"""A Loki for tests: takes OTLP, keeps it, and answers LogQL, as 3.7.6 does.

What it refuses and how, what it stores, and what it answers was seen of a real one;
``test_loki_statements.py`` says each of that of both. It does not listen: see
`loki_peer` for one that does.
"""

from __future__ import annotations

import dataclasses
import json
import time
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import parse_qsl

import loki_logql
from loki_entries import (
    labels_and_metadata,
    of_record,
    of_scope,
    rendered,
    time_ns_of,
)
from loki_rules import PUSH_BYTES, LokiRules
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import (
    ExportLogsServiceRequest,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from opentelemetry.proto.logs.v1.logs_pb2 import LogRecord

__all__ = ["LokiDouble", "StoredEntry", "form_of"]

MOST_ENTRIES: Final = 5_000
BURST_BYTES: Final = 6_000_000
TAIL_STREAMS: Final = 6
LONGEST_NS: Final = (30 * 24 + 1) * 3_600 * 10**9
SILENT: Final = frozenset({"twin", "collision", "level", "name", "nested"})
"""Rules of which Loki says nothing."""

_LEVELS: Final = (
    (21, "fatal"), (17, "error"), (13, "warn"), (9, "info"), (5, "debug"), (1, "trace"),
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class StoredEntry:
    """What it keeps."""

    timestamp_ns: int
    line: str
    labels: tuple[tuple[str, str], ...]
    metadata: tuple[tuple[str, str], ...]


class LokiDouble:
    """Keeps what is pushed.

    Args:
        clock: Seconds since the epoch.
        tenants: Whether a request has to say whose it is.

    Attributes:
        entries: What is kept, as it came.
        outage: How many of the next queries are answered with which status.
        asked: The forms of all queries.
    """

    def __init__(
        self, clock: Callable[[], float] = time.time, *, tenants: bool = False
    ) -> None:
        self._clock = clock
        self._rules = LokiRules(clock)
        self._tenants = tenants
        self.entries: dict[StoredEntry, None] = {}
        self.outage: list[int] = []
        self.asked: list[dict[str, str]] = []

    def push(self, body: bytes, headers: Mapping[str, str] = {}) -> tuple[int, str]:
        """Take a request of OTLP; return the status and the reason."""
        if self._tenants and not headers.get("x-scope-orgid"):
            return 401, "no org id"
        objections = self._rules.judge(body)
        whole = {each.rule: each.why for each in objections if each.record is None}
        if "no message" in whole:
            return 400, whole["no message"]
        if "empty" in whole:
            return 422, "error at least one valid stream is required for ingestion"
        if len(body) > BURST_BYTES:
            return 429, "ingestion rate limit exceeded"
        if "push size" in whole:
            return 503, f"grpc: received message larger than max (> {PUSH_BYTES})"
        if any(each.rule == "key" for each in objections):
            return 400, "symbolizer lookup: label name is empty"
        refused = {
            id(each.record) for each in objections if each.rule not in SILENT
        }  # fmt: skip
        request = ExportLogsServiceRequest.FromString(body)
        bad = {
            each.record.SerializeToString()
            for each in objections
            if each.record is not None and id(each.record) in refused
        }
        for entry, record in self._entries_of(request):
            if record.SerializeToString() not in bad:
                self.entries.setdefault(entry)
        said = [each for each in objections if each.rule not in SILENT]
        return (400, f"{said[0].rule}: {said[0].why}") if said else (204, "")

    def _entries_of(
        self, request: ExportLogsServiceRequest
    ) -> Iterator[tuple[StoredEntry, LogRecord]]:
        for resource_logs in request.resource_logs:
            labels, shared = labels_and_metadata(resource_logs.resource)
            for scope_logs in resource_logs.scope_logs:
                scope = [*shared, *of_scope(scope_logs.scope)]
                for record in scope_logs.log_records:
                    metadata = dict([*scope, *of_record(record)])
                    metadata["detected_level"] = _detected(metadata)
                    time_ns = time_ns_of(record) or int(self._clock() * 1e9)
                    kept = {k: v for k, v in metadata.items() if v}
                    yield (
                        StoredEntry(
                            time_ns,
                            rendered(record.body),
                            tuple(sorted(labels)),
                            tuple(sorted(kept.items())),
                        ),
                        record,
                    )

    def query_range(
        self, form: Mapping[str, str], headers: Mapping[str, str]
    ) -> tuple[int, str]:
        """Answer a query; return the status and the body."""
        self.asked.append({**form})
        if self._tenants and not headers.get("x-scope-orgid"):
            return 401, "no org id"
        if self.outage:
            status = self.outage.pop(0)
            if status != 200:
                return status, "too many outstanding requests"
        limit = int(form.get("limit", "100"))
        if limit > MOST_ENTRIES:
            return 400, (
                "max entries limit per query exceeded, limit > "
                f"max_entries_limit_per_query ({limit} > {MOST_ENTRIES})"
            )
        now_ns = int(self._clock() * 1e9)
        start = int(form.get("start", str(now_ns - 3_600 * 10**9)))
        end = int(form.get("end", str(now_ns)))
        if end - start > LONGEST_NS:
            return 400, "the query time range exceeds the limit"
        try:
            pipeline = loki_logql.read(form["query"])
        except loki_logql.LogQLError as error:
            return 400, str(error)
        backward = form.get("direction", "backward") == "backward"
        found = [
            (entry, *result)
            for entry in self.entries
            if start <= entry.timestamp_ns < end
            and (result := pipeline.run(entry.line, dict(entry.labels), dict(entry.metadata)))
        ]  # fmt: skip
        found.sort(key=lambda each: each[0].timestamp_ns)
        if backward:
            found.reverse()
        streams = _streams(found[:limit], headers)
        answer = {"status": "success", "data": {"resultType": "streams", **streams}}
        return 200, json.dumps(answer, ensure_ascii=False)

    def frame(
        self, query: str, entries: list[StoredEntry], headers: Mapping[str, str]
    ) -> str:
        """Return what a tail sends of some new entries; empty if that is nothing.

        With conditions each entry is a stream of its own, and there is no room for more
        than a few; the others are left out without a word.
        """
        pipeline = loki_logql.read(query)
        found = [
            (entry, *result)
            for entry in entries
            if (result := pipeline.run(entry.line, dict(entry.labels), dict(entry.metadata)))
        ]  # fmt: skip
        if not found:
            return ""
        if "|" in query:
            del found[TAIL_STREAMS:]
        streams = _streams(found, headers)
        frame = {"streams": streams.pop("result"), **streams}
        return json.dumps(frame, ensure_ascii=False)


def form_of(body: bytes) -> dict[str, str]:
    """Return the fields of a form."""
    return dict(parse_qsl(body.decode(), keep_blank_values=True))


def _detected(metadata: Mapping[str, str]) -> str:
    number = int(metadata.get("severity_number", "0"))
    text = metadata.get("severity_text", "").lower()
    if text in {"critical", "fatal"}:
        return text
    return next((name for least, name in _LEVELS if number >= least), "unknown")


def _streams(
    found: list[tuple[StoredEntry, str, dict[str, str]]], headers: Mapping[str, str]
) -> dict[str, Any]:
    """Return entries by their streams."""
    flags = headers.get("x-loki-response-encoding-flags", "")
    streams: dict[tuple[tuple[str, str], ...], list[list[Any]]] = {}
    for entry, line, parsed in found:
        value: list[Any] = [str(entry.timestamp_ns), line]
        if "categorize-labels" in flags:
            name = entry.labels
            categories = {
                "structuredMetadata": dict(entry.metadata), "parsed": parsed,
            }  # fmt: skip
            value.append({k: v for k, v in categories.items() if v})
        else:
            name = tuple({**dict(entry.labels), **dict(entry.metadata)}.items())
        streams.setdefault(name, []).append(value)
    result: dict[str, Any] = {
        "result": [{"stream": dict(k), "values": v} for k, v in streams.items()]
    }
    if "categorize-labels" in flags:
        result["encodingFlags"] = ["categorize-labels"]
    return result
