"""The shapes of the API's answers, as JSON Schema."""

from __future__ import annotations

import dataclasses
from typing import Any, Final, get_args

from otel_tasklog._waits import MOST_AWAITED, Kind
from otel_tasklog.store._storage import Stats
from otel_tasklog.viewer._process_json import API

__all__ = ["SCHEMAS"]

TEXT: Final = {"type": "string"}
COUNT: Final = {"type": "integer", "minimum": 0}
TIME_NS: Final = {
    "type": "string",
    "pattern": "^-?[0-9]+$",
    "description": "Nanoseconds since 1970: too large for the numbers of JavaScript.",
}
NUMBER: Final = {
    "type": ["integer", "string"],
    "description": "Beyond 2**53 a text of digits.",
}
SECONDS: Final = {"type": "number", "minimum": 0}
BY_NAME: Final = {"type": "object", "additionalProperties": COUNT}


def _maybe(schema: dict[str, Any]) -> dict[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]}


def _closed(
    properties: dict[str, Any], *, optional: tuple[str, ...] = ()
) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": properties,
        "required": [name for name in properties if name not in optional],
        "additionalProperties": False,
    }


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
    "trace_id": {"type": "string", "pattern": "^[0-9a-f]{32}$"},
    "span_id": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    "trace_flags": COUNT,
    "event_name": TEXT,
    "exception_type": TEXT,
    "exception_message": TEXT,
    "exception_stacktrace": TEXT,
    "stack_info": TEXT,
    "dropped_attributes": COUNT,
}
_RECORDS: Final = {
    "type": "array",
    "items": {"$ref": "#/components/schemas/Record"},
}
_COMPLETE: Final = {
    "type": "boolean",
    "description": "False if the time did not suffice to look at all that is kept.",
}
_STATS: Final[dict[str, Any]] = {
    field.name: COUNT for field in dataclasses.fields(Stats)
} | {
    "rejected_by": BY_NAME,
    "dropped_by": BY_NAME,
    "dropped_bytes_by": BY_NAME,
    "lag_seconds": _maybe(SECONDS)
    | {"description": "The age of the oldest pending record; null: none is exported."},
    "last_error": _maybe(TEXT),
}

SCHEMAS: Final[dict[str, Any]] = {
    "Record": _closed(_ALWAYS | _SOMETIMES, optional=tuple(_SOMETIMES)),
    "Records": _closed(
        {
            "records": _RECORDS,
            "complete": _COMPLETE,
            "next": _maybe(TEXT)
            | {"description": "The cursor of what follows; null if nothing does."},
        }
    ),
    "Tasks": _closed(
        {
            "tasks": {"type": "array", "items": {"$ref": "#/components/schemas/Task"}},
            "complete": _COMPLETE,
        }
    ),
    "Task": _closed(
        {
            "task_id": TEXT,
            "task_parent_id": _maybe(TEXT) | {"description": "The job around it."},
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
            "waits_on": _maybe({"$ref": "#/components/schemas/Wait"})
            | {
                "description": "Of its asyncio tasks that are still at it, what the one "
                "waits on that logged last; null if there is none, or it cannot be told."
            },
        }
    ),
    "Wait": _closed(
        {
            "kind": {"type": "string", "enum": [*get_args(Kind)]},
            "text": TEXT | {"description": "The same for a reader: Queue.get."},
            "awaited": {
                "type": "array",
                "maxItems": MOST_AWAITED,
                "items": _closed({"number": _maybe(COUNT), "name": TEXT}),
                "description": "The asyncio tasks that must be done first.",
            },
            "path": _maybe(TEXT) | {"description": "Where, in the program's own code."},
            "line": _maybe(COUNT),
            "function": _maybe(TEXT),
            "asyncio_task_number": _maybe(COUNT) | {"description": "Of who waits."},
            "asyncio_task_name": TEXT,
        }
    ),
    "Counts": _closed(
        {
            "by": TEXT,
            "total": COUNT,
            "distinct": COUNT | {"description": "How many different ones there are."},
            "counts": BY_NAME,
            "bucket_seconds": _maybe({"type": "number"}),
            "buckets": {
                "type": "array",
                "items": _closed(
                    {"start_ns": TIME_NS, "total": COUNT, "counts": BY_NAME}
                ),
            },
            "complete": _COMPLETE,
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
    "Stats": _closed(_STATS),
    "Process": _closed(
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
            "last_error": _maybe(TEXT),
            "endpoint": TEXT | {"description": "Where the records are sent."},
        },
        optional=("service_instance_id", "endpoint"),
    ),
    "Health": _closed({"status": {"const": "ok"}, "version": TEXT}),
    "Problem": _closed(
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
