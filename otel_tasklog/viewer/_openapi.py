"""The API's description, by which its requests are checked.

It is served as it is. See https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any, Final, get_args

from otel_tasklog.live._tasks import Order
from otel_tasklog.live._tree import Branches
from otel_tasklog.viewer._record_json import EXACT
from otel_tasklog.viewer._schemas import SCHEMAS

__all__ = [
    "DOCUMENT",
    "LONGEST_SECONDS",
    "PARAMETERS",
    "RECORDS",
    "REPORT_RECORDS",
    "SEARCH_CHARACTERS",
    "SHORTEST_SECONDS",
    "parameters_of",
]

PROBLEMS: Final = ("400", "401", "403", "405", "414", "500", "503")
"""The statuses of an answer that is a Problem, whatever was asked."""

RECORDS: Final = 1_000
"""In one answer, and before the first new one of a tail, at most."""

REPORT_RECORDS: Final = 100
"""In what is said of one task, at most."""

SEARCH_CHARACTERS: Final = 2_000
"""Of a query, at most."""

SHORTEST_SECONDS: Final = 0.001
LONGEST_SECONDS: Final = 31_536_000
"""Of a span of time that is asked for."""


def _parameter(
    name: str,
    schema: dict[str, Any],
    description: str,
    *,
    place: str = "query",
    required: bool = False,
) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": required or place == "path",
        "schema": schema,
        "description": description,
    }


PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "q": _parameter(
        "q",
        {"type": "string", "maxLength": SEARCH_CHARACTERS, "default": ""},
        "The query, as text; the empty one is every record.",
    ),
    "limit": _parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": RECORDS, "default": 100},
        "How many at most.",
    ),
    "order": _parameter(
        "order",
        {"type": "string", "enum": ["newest", "oldest"], "default": "newest"},
        "Which come first, and which the limit keeps.",
    ),
    "cursor": _parameter(
        "cursor",
        {"type": "string", "maxLength": 64},
        "Go on after this record: the `next` of an answer, or the `id` of a record.",
    ),
    "format": _parameter(
        "format",
        {"type": "string", "enum": ["json", "ndjson"]},
        "Instead of an Accept header.",
    ),
    "backlog": _parameter(
        "backlog",
        {"type": "integer", "minimum": 0, "maximum": RECORDS, "default": 0},
        "How many of the newest records in memory come first, at most.",
    ),
    "many_limit": _parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": RECORDS, "default": 200},
        "How many at most.",
    ),
    "alive": _parameter(
        "alive",
        {"type": "boolean", "default": False},
        "Only those that an asyncio task is still at.",
    ),
    "by": _parameter(
        "by",
        {"type": "string", "maxLength": 300, "default": "level"},
        "What tells them apart: level, logger, task_id, exception, or @ and the name "
        "of an attribute.",
    ),
    "bucket_seconds": _parameter(
        "bucket_seconds",
        {"type": "number", "minimum": SHORTEST_SECONDS, "maximum": LONGEST_SECONDS},
        "How long each stretch of time is that is counted by itself; none if it is "
        "not given.",
    ),
    "trace_id": _parameter(
        "trace_id",
        {"type": "string", "pattern": "^[0-9a-fA-F]{32}$"},
        "32 hexadecimal digits.",
        place="path",
    ),
    "sequence": _parameter(
        "sequence",
        {"type": "integer", "minimum": 0, "maximum": EXACT},
        "The record's.",
        place="path",
    ),
    "before": _parameter(
        "before",
        {"type": "integer", "minimum": 0, "maximum": RECORDS, "default": 10},
        "How many of those before it.",
    ),
    "after": _parameter(
        "after",
        {"type": "integer", "minimum": 0, "maximum": RECORDS, "default": 10},
        "How many of those after it.",
    ),
    "same_task": _parameter(
        "same_task",
        {"type": "boolean", "default": False},
        "Whether of its job alone.",
    ),
    "waiting": _parameter(
        "waiting",
        {"type": "boolean", "default": False},
        "Only those that wait for something.",
    ),
    "silent_seconds": _parameter(
        "silent_seconds",
        {"type": "number", "minimum": SHORTEST_SECONDS, "maximum": LONGEST_SECONDS},
        "Only those that have not logged for so long, or ever.",
    ),
    "sort": _parameter(
        "sort",
        {"type": "string", "enum": [*get_args(Order)], "default": "number"},
        "Which come first: by age; by name; those with the most records, with the worst "
        "of them, or silent for the longest.",
    ),
    "branches": _parameter(
        "by",
        {"type": "string", "enum": [*get_args(Branches)], "default": "waits"},
        "What is below a task: those that it waits for, or those that it made.",
    ),
    "places": _parameter(
        "limit",
        {"type": "integer", "minimum": 1, "maximum": RECORDS, "default": 1_000},
        "How many at most.",
    ),
    "task": _parameter(
        "task",
        {"type": "string", "maxLength": SEARCH_CHARACTERS},
        "A number, as #4; a job's id; the name of a task; or the Task ID of "
        "aiomonitor's ps.",
        required=True,
    ),
    "report_records": _parameter(
        "records",
        {"type": "integer", "minimum": 0, "maximum": REPORT_RECORDS, "default": 10},
        "How many of its newest records, at most.",
    ),
    "last_event_id": _parameter(
        "Last-Event-ID",
        {"type": "string"},
        "As cursor, and instead of it; browsers send it when they resume.",
        place="header",
    ),
    "tail_format": _parameter(
        "format",
        {"type": "string", "enum": ["sse", "ndjson"]},
        "Instead of an Accept header.",
    ),
}


def _content(**schemas: str) -> dict[str, Any]:
    kinds = {
        "json": "application/json",
        "ndjson": "application/x-ndjson",
        "sse": "text/event-stream",
    }
    return {
        kinds[kind]: {"schema": {"$ref": f"#/components/schemas/{name}"}}
        for kind, name in schemas.items()
    }


def _operation(
    summary: str,
    *parameters: str,
    content: dict[str, Any],
    description: str = "",
    problems: tuple[str, ...] = (),
) -> dict[str, Any]:
    return {
        "get": {
            "summary": summary,
            **({"description": description} if description else {}),
            "parameters": [
                {"$ref": f"#/components/parameters/{name}"} for name in parameters
            ],
            "responses": {
                "200": {"description": summary, "content": content},
                **{
                    status: {"$ref": "#/components/responses/Problem"}
                    for status in sorted({*PROBLEMS, *problems})
                },
            },
        }
    }


DOCUMENT: Final[dict[str, Any]] = {
    "openapi": "3.1.0",
    "info": {
        "title": "otel_tasklog",
        "version": "1",
        "description": "What a running program logged last. Nothing here writes.",
    },
    "servers": [{"url": "."}],
    "security": [{}, {"token": []}],
    "paths": {
        "/v1/records": _operation(
            "Records in memory.",
            "q",
            "limit",
            "order",
            "cursor",
            "format",
            content=_content(json="Records", ndjson="Record"),
            description="As NDJSON there is a record in each line, and `complete` and "
            "`next` are the headers Tasklog-Complete and Tasklog-Next.",
        ),
        "/v1/tail": _operation(
            "Records as they come.",
            "q",
            "backlog",
            "cursor",
            "tail_format",
            "last_event_id",
            content=_content(sse="TailEvents", ndjson="TailLine"),
            description="Does not end.",
        ),
        "/v1/tasks": _operation(
            "Jobs, the one that logged last first.",
            "q",
            "alive",
            "many_limit",
            content=_content(json="Tasks"),
            description="As the records say that the query finds.",
        ),
        "/v1/live": _operation(
            "Asyncio tasks that are not done, and what each waits on.",
            "q",
            "waiting",
            "silent_seconds",
            "sort",
            "many_limit",
            content=_content(json="LiveTasks"),
            description="With a query, those alone that have a record that it finds.",
        ),
        "/v1/tree": _operation(
            "Which of them waits for which, or made which.",
            "branches",
            "places",
            content=_content(json="TaskTree"),
        ),
        "/v1/why": _operation(
            "What keeps one of them from going on.",
            "task",
            "report_records",
            content=_content(json="TaskReport"),
            problems=("404",),
        ),
        "/v1/counts": _operation(
            "How many records there are, of what, and when.",
            "q",
            "by",
            "bucket_seconds",
            "many_limit",
            content=_content(json="Counts"),
        ),
        "/v1/trace/{trace_id}": _operation(
            "The records of one trace, the oldest first.",
            "trace_id",
            "limit",
            "cursor",
            "format",
            content=_content(json="Records", ndjson="Record"),
        ),
        "/v1/context/{sequence}": _operation(
            "A record and those around it, the oldest first.",
            "sequence",
            "before",
            "after",
            "same_task",
            "format",
            content=_content(json="Records", ndjson="Record"),
            problems=("404",),
        ),
        "/v1/stats": _operation(
            "What became of the records so far.", content=_content(json="Stats")
        ),
        "/v1/process": _operation(
            "Which process this is, and how it is.", content=_content(json="Process")
        ),
        "/healthz": _operation("Whether it answers.", content=_content(json="Health")),
        "/openapi.json": _operation(
            "This document.",
            content={"application/json": {"schema": {"type": "object"}}},
        ),
    },
    "components": {
        "parameters": PARAMETERS,
        "schemas": SCHEMAS,
        "responses": {
            "Problem": {
                "description": "It cannot be served.",
                "content": _content(json="Problem"),
            }
        },
        "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
    },
}


def parameters_of(path: str) -> list[dict[str, Any]]:
    """Return the parameters of a route but those in headers."""
    references = DOCUMENT["paths"][path]["get"]["parameters"]
    known = [PARAMETERS[each["$ref"].rpartition("/")[2]] for each in references]
    return [each for each in known if each["in"] != "header"]
