"""The shapes of the API's answers, as JSON Schema."""

from __future__ import annotations

import dataclasses
from typing import Any, Final

from otel_tasklog.store._storage import Stats
from otel_tasklog.viewer._live_schemas import LIVE_SCHEMAS
from otel_tasklog.viewer._process_json import API
from otel_tasklog.viewer._shapes import (
    BY_NAME,
    COMPLETE,
    COUNT,
    NUMBER,
    RECORD_LIST,
    SECONDS,
    SPAN_ID,
    TEXT,
    TIME_NS,
    TRACE_ID,
    closed,
    maybe,
)

__all__ = ["SCHEMAS"]

_ALWAYS: Final[dict[str, Any]] = {
    "id": {
        "type": "string",
        "pattern": "^[0-9]+-[0-9a-f]+$",
        "description": "The sequence and a mark of the process. A cursor.",
    },
    "sequence": COUNT | {"description": "The order of the log calls in the process."},
    "timestamp_ns": TIME_NS,
    "time": {
        "type": "string",
        "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9:]{8}[.][0-9]{9}Z$",
        "description": "The same, in UTC.",
    },
    "message": TEXT | {"description": "The text, its arguments filled in."},
    "logger": TEXT,
    "level": NUMBER | {"description": "As Python numbers it."},
    "severity_number": {
        "type": "integer",
        "minimum": 0,
        "maximum": 24,
        "description": "As OpenTelemetry numbers it.",
    },
    "severity_text": TEXT | {"description": "The level's name in Python."},
    "path": TEXT,
    "line": NUMBER,
    "function": TEXT,
    "thread_id": NUMBER,
    "thread_name": TEXT,
    "process_id": NUMBER,
}
_SOMETIMES: Final[dict[str, Any]] = {
    "body": {"type": "object", "description": "The mapping, if one was logged."},
    "attributes": {"type": "object"},
    "task_id": TEXT | {"description": "The job."},
    "task_parent_id": TEXT | {"description": "The job around it."},
    "asyncio_task_number": COUNT,
    "asyncio_task_name": TEXT,
    "asyncio_task_parent_number": COUNT,
    "trace_id": TRACE_ID,
    "span_id": SPAN_ID,
    "trace_flags": COUNT,
    "event_name": TEXT,
    "exception_type": TEXT,
    "exception_message": TEXT,
    "exception_stacktrace": TEXT,
    "stack_info": TEXT,
    "dropped_attributes": COUNT,
}
_STATS: Final[dict[str, Any]] = {
    field.name: COUNT for field in dataclasses.fields(Stats)
} | {
    "rejected_by": BY_NAME,
    "dropped_by": BY_NAME,
    "dropped_bytes_by": BY_NAME,
    "lag_seconds": maybe(SECONDS)
    | {"description": "The age of the oldest pending record; null: none is exported."},
    "loop_lag_seconds": maybe(SECONDS)
    | {"description": "The worst of the last minute; null: no event loop is watched."},
    "last_error": maybe(TEXT),
}

SCHEMAS: Final[dict[str, Any]] = {
    "Record": closed(_ALWAYS | _SOMETIMES, optional=tuple(_SOMETIMES)),
    "Records": closed(
        {
            "records": RECORD_LIST,
            "complete": COMPLETE,
            "next": maybe(TEXT)
            | {"description": "The cursor of what follows; null if nothing does."},
        }
    ),
    "Tasks": closed(
        {
            "tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
            "complete": COMPLETE,
        }
    ),
    "Task": closed(
        {
            "task_id": TEXT,
            "task_parent_id": maybe(TEXT) | {"description": "The job around it."},
            "asyncio_task_numbers": {"type": "array", "items": COUNT},
            "asyncio_task_names": {"type": "array", "items": TEXT},
            "first_ns": TIME_NS,
            "last_ns": TIME_NS,
            "duration_seconds": {"type": "number", "minimum": 0},
            "records": COUNT,
            "levels": BY_NAME,
            "worst_level": TEXT,
            "exceptions": BY_NAME,
            "last_message": TEXT,
            "alive": {
                "type": ["boolean", "null"],
                "description": "Whether one of its asyncio tasks is still at it; null "
                "if that is not known.",
            },
            "waits_on": maybe({"$ref": "#/components/schemas/Wait"})
            | {
                "description": "Of its asyncio tasks that are still at it, what the one "
                "waits on that logged last; null if there is none, or it cannot be told."
            },
        }
    ),
    **LIVE_SCHEMAS,
    "Counts": closed(
        {
            "by": TEXT,
            "total": COUNT,
            "distinct": COUNT | {"description": "How many different ones there are."},
            "counts": BY_NAME,
            "bucket_seconds": maybe({"type": "number"}),
            "buckets": {
                "type": "array",
                "items": closed(
                    {"start_ns": TIME_NS, "total": COUNT, "counts": BY_NAME}
                ),
            },
            "complete": COMPLETE,
        }
    ),
    "Notice": {
        "type": "object",
        "description": "What a tail says of itself, between records.",
        "properties": {
            "missed": COUNT
            | {"description": "So many records, in all, came faster than you read."},
            "gap": TEXT | {"description": "What may be missing here, and why."},
            "end": TEXT | {"description": "Why there will be no more."},
        },
        "minProperties": 1,
        "maxProperties": 1,
        "additionalProperties": False,
    },
    "TailLine": {
        "description": "One of many lines; an empty one says that all is well.",
        "anyOf": [
            {"$ref": "#/components/schemas/Record"},
            {"$ref": "#/components/schemas/Notice"},
        ],
    },
    "TailEvents": {
        "type": "string",
        "description": "Server-sent events. A record has its id and no event name; "
        "a Notice has the name of its only key. Comments say that all is well.",
    },
    "Stats": closed(_STATS),
    "Process": closed(
        {
            "api": {
                "const": API,
                "description": "The form of all answers: another one, another number.",
            },
            "pid": COUNT,
            "service_name": TEXT,
            "service_instance_id": TEXT,
            "version": TEXT | {"description": "Of otel_tasklog."},
            "python": TEXT,
            "started_ns": TIME_NS | {"description": "When its counts began."},
            "uptime_seconds": SECONDS | {"description": "Since then."},
            "command": {
                "type": "array",
                "items": TEXT,
                "description": "The command line, without what looks secret.",
            },
            "resource": {"type": "object", "description": "Its attributes."},
            "kept": COUNT | {"description": "Records in memory."},
            "captured": COUNT | {"description": "Records so far."},
            "pending": COUNT | {"description": "Records in memory, not yet delivered."},
            "lag_seconds": _STATS["lag_seconds"],
            "lost": COUNT | {"description": "Records dropped, or refused for good."},
            "last_error": maybe(TEXT),
            "monitors": {
                "type": "array",
                "items": closed(
                    {"host": TEXT, "port": COUNT, "web_port": maybe(COUNT)}
                ),
                "description": "Where its telnet monitors listen.",
            },
            "endpoint": TEXT | {"description": "Where the records are sent."},
        },
        optional=("service_instance_id", "endpoint"),
    ),
    "Health": closed({"status": {"const": "ok"}, "version": TEXT}),
    "Problem": closed(
        {
            "error": TEXT | {"description": "What is wrong and what to do."},
            "column": {
                "type": "integer",
                "minimum": 1,
                "description": "Where in the query.",
            },
        },
        optional=("column",),
    ),
}
