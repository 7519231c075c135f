"""The queries of dashboards, read: LogQL and PromQL, as much as is written here.

Whether Loki and Prometheus take them, `deploy/test_queries_asked.py` asks them.
"""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Final

from deployed import dashboard, index_labels

from otel_tasklog.store._logql import is_filterable, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

__all__ = [
    "COLLECTOR_METRICS",
    "DERIVED",
    "LEVELS",
    "METRICS",
    "METRIC_LABELS",
    "SENT",
    "filled",
    "logql_faults",
    "promql_faults",
    "queries_of",
]

SENT: Final = {
    "task_id",
    "task_parent_id",
    "asyncio_task_id",
    "asyncio_task_name",
    "asyncio_task_parent_id",
    "exception_type",
    "exception_message",
    "exception_stacktrace",
    "code_file_path",
    "code_function_name",
    "code_line_number",
    "code_stacktrace",
    "process_pid",
    "thread_id",
    "thread_name",
}
"""What otel_tasklog sends, by the names that Loki makes of them."""

DERIVED: Final = {
    "detected_level",
    "severity_text",
    "severity_number",
    "trace_id",
    "span_id",
    "scope_name",
}
"""What Loki makes of the rest of a record."""

LEVELS: Final = {"trace", "debug", "info", "warn", "error", "critical", "fatal"}

METRICS: Final = {
    "otel_sdk_log_created_total",
    "otel_sdk_processor_log_queue_size",
    "otel_sdk_processor_log_queue_capacity",
    "otel_sdk_processor_log_processed_total",
    "otel_sdk_exporter_log_inflight",
    "otel_sdk_exporter_log_exported_total",
    "otel_sdk_exporter_operation_duration_seconds",
    "otel_tasklog_delivery_lag_seconds",
    "otel_tasklog_event_loop_lag_seconds",
    "otel_tasklog_event_loop_tasks",
}
"""What otel_tasklog measures, by the names that Prometheus makes of them."""

COLLECTOR_METRICS: Final = {
    "otelcol_exporter_enqueue_failed_log_records",
    "otelcol_exporter_in_flight_requests",
    "otelcol_exporter_queue_capacity",
    "otelcol_exporter_queue_size",
    "otelcol_exporter_send_failed_log_records",
    "otelcol_exporter_sent_log_records",
    "otelcol_process_memory_rss",
    "otelcol_receiver_accepted_log_records",
    "otelcol_receiver_refused_log_records",
}
"""What the Collector measures at the level ``normal``.

Of documentation.md of exporter/exporterhelper, receiver/receiverhelper and service, at
v0.159.0. Its page has them without ``_total``, and in no format that would add it.
"""

OF_PROMETHEUS: Final = {"up"}
METRIC_LABELS: Final = {"job", "instance", "exporter", "error_type", "le"} | {
    "otel_scope_name"
}
FUNCTIONS: Final = {
    "sum", "max", "rate", "last_over_time", "histogram_quantile", "vector", "by",
    "or", "offset",
}  # fmt: skip

_STRING: Final = re.compile(r'"(?:[^"\\]|\\.)*"|`[^`]*`')
_FILTER: Final = r"\w+ ?(?:=~|!~|!=|>=|<=|=|>|<) ?(?:S|\d+)"
_STAGE: Final = rf" (?:\|=|\|~|!=|!~) S| \| {_FILTER}(?: (?:or|and) {_FILTER})*"
_LOG_QUERY: Final = re.compile(rf"\{{(\w+)=~?S\}}((?:{_STAGE}| \| line_format S)*)")
_MATCHERS: Final = re.compile(r"\{(\w+(?:=~|!~|!=|=)S(?:, \w+(?:=~|!~|!=|=)S)*)?\}")
_WINDOW: Final = re.compile(r"\[(?:\$__range|\$__rate_interval|\d+[smhd])\]")
_SUFFIX: Final = re.compile(r"(_seconds)_(?:bucket|sum|count)$")

_BUILT_IN: Final = {"__auto", "__range", "__rate_interval"}


def queries_of(path: Path, kind: str) -> Iterator[str]:
    """The queries of a dashboard to one kind of data source."""
    for panel in dashboard(path)["panels"]:
        for target in panel.get("targets", []):
            if target["datasource"]["type"] == kind:
                yield target["expr"]


def filled(query: str, **variables: str) -> str:
    """A query as Grafana sends it."""
    given = {
        "__auto": "1m",
        "__range": "1h",
        "__rate_interval": "1m",
        **variables,
    }
    return re.sub(r"\$(\w+)", lambda found: given[found[1]], query)


def _unwrapped(query: str) -> tuple[str, set[str]]:
    """Take the aggregations off: the log query inside, and the fields to group by."""
    fields: set[str] = set()
    if found := re.fullmatch(r"topk\(\d+, (.*)\)", query):
        query = found[1]
    if found := re.fullmatch(r"sum by \((\w+)\) \((.*)\)", query):
        fields.add(found[1])
        query = found[2]
    if found := re.fullmatch(
        r"count_over_time\((.*) \[(?:\$__auto|\$__range|\d+[smhd])\]\)", query
    ):
        query = found[1]
    return query, fields


def logql_faults(query: str, variables: Mapping[str, bool]) -> list[str]:
    """What is wrong with a query; the variables' values say which are lists."""
    strings: list[str] = _STRING.findall(query)
    bare, fields = _unwrapped(_STRING.sub("S", query))
    found = _LOG_QUERY.fullmatch(bare)
    if found is None:
        return [f"not a query: {bare}"]
    for text in strings:
        for action in re.findall(r"\{\{(.*?)\}\}", text):
            fields |= {*re.findall(r"(?:^| )\.(\w+)", action)}
    fields |= {*re.findall(r"(\w+) ?[=!<>]", found[2])}
    known = SENT | DERIVED | index_labels()
    wrong = [f"not a label: {n}" for n in {found[1]} - index_labels()]
    wrong += [f"not a field: {n}" for n in fields - known]
    wrong += [f"nothing to filter by: {n}" for n in fields if not is_filterable(n)]
    return wrong + _wrong_strings(strings, variables) + _unknown(query, variables)


def _wrong_strings(strings: list[str], variables: Mapping[str, bool]) -> list[str]:
    """Those in double quotes are as the compiler of queries has them.

    Grafana escapes the values of a list for a string in double quotes, and inserts a
    single value as it is, which only backticks leave alone.
    """
    wrong: list[str] = []
    for text in strings:
        if text[0] == '"' and quoted(json.loads(text)) != text:
            wrong.append(f"not quoted as LogQL: {text}")
        wrong += [
            f"wrong quotes around ${name}"
            for name in re.findall(r"\$(\w+)", text)
            if (text[0] == '"') != variables.get(name, False)
        ]
    return wrong


def _unknown(query: str, variables: Mapping[str, bool]) -> list[str]:
    return [
        f"not a variable: {name}"
        for name in re.findall(r"\$\{?(\w+)", query)
        if name not in _BUILT_IN and name not in variables
    ]


def promql_faults(query: str, variables: Mapping[str, bool]) -> list[str]:
    """What is wrong with a query to Prometheus."""
    wrong = _unknown(query, variables)
    bare = _STRING.sub("S", query)
    labels = {
        name
        for found in _MATCHERS.finditer(bare)
        for name in re.findall(r"(\w+)[=!]", found[0])
    }
    bare = _WINDOW.sub("", _MATCHERS.sub("", bare))
    for grouped in re.findall(r" by \(([^()]*)\)", bare):
        labels |= {*grouped.split(", ")}
    bare = re.sub(r" by \([^()]*\)", "", bare).replace("offset $__range", "")
    wrong += [f"not a label: {n}" for n in labels - METRIC_LABELS]
    words = {*re.findall(r"[a-z_]\w*", bare)} - FUNCTIONS
    names = {_SUFFIX.sub(r"\1", word) for word in words}
    known = METRICS | COLLECTOR_METRICS | OF_PROMETHEUS
    wrong += [f"not a metric: {name}" for name in names - known]
    if not names:
        wrong.append("it asks for nothing")
    rest = re.sub(r"[a-z_]\w*|\d+(?:\.\d+)?", "", bare)
    if found := re.search(r"[^()\s,/+-]", rest):
        wrong.append(f"not PromQL: {found[0]}")
    depth = 0
    for char in rest:
        depth += (char == "(") - (char == ")")
        if depth < 0:
            break
    if depth:
        wrong.append("parentheses")
    return wrong
