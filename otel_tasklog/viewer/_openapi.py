"""The API's description, by which its requests are checked.

It is served as it is. See https://spec.openapis.org/oas/v3.1.0
"""

from __future__ import annotations

from typing import Any, Final

from otel_tasklog.viewer._record_json import EXACT
from otel_tasklog.viewer._schemas import SCHEMAS

__all__ = ["DOCUMENT", "PARAMETERS", "RECORDS", "SEARCH_CHARACTERS", "parameters_of"]

PROBLEMS: Final = ("400", "401", "403", "405", "414", "500", "503")
"""The statuses of an answer that is a Problem, whatever was asked."""

RECORDS: Final = 1_000
"""In one answer, and before the first new one of a tail, at most."""

SEARCH_CHARACTERS: Final = 2_000
"""Of a query, at most."""


def _parameter(
    name: str, schema: dict[str, Any], description: str, *, place: str = "query"
) -> dict[str, Any]:
    return {
        "name": name,
        "in": place,
        "required": place == "path",
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
        {"type": "number", "minimum": 0.001, "maximum": 31_536_000},
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
