"""The shapes of what is answered of live tasks, as JSON Schema."""

from __future__ import annotations

from typing import Any, Final, get_args

from otel_tasklog.live._tree import Again
from otel_tasklog.live._waits import MOST_AWAITED, Kind
from otel_tasklog.viewer._shapes import (
    COMPLETE,
    COUNT,
    NUMBER,
    RECORD_LIST,
    SPAN_ID,
    TEXT,
    TIME_NS,
    TRACE_ID,
    closed,
    maybe,
)

__all__ = ["LIVE_SCHEMAS"]

_AWAITED: Final[dict[str, Any]] = {
    "type": "array",
    "items": closed({"number": maybe(COUNT), "name": TEXT}),
}
_TOTAL: Final = COUNT | {"description": "How many there are, listed or not."}
_ALIVE: Final[dict[str, Any]] = {
    "number": maybe(COUNT)
    | {"description": "Null as long as it has neither logged nor opened a scope."},
    "name": TEXT,
    "coroutine": TEXT | {"description": "Its qualified name."},
    "address": NUMBER | {"description": "What aiomonitor's ps calls Task ID."},
    "wait": maybe({"$ref": "#/components/schemas/Wait"})
    | {"description": "What it waits on; null if that cannot be told."},
}

LIVE_SCHEMAS: Final[dict[str, Any]] = {
    "LiveTasks": closed(
        {
            "tasks": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/LiveTask"},
            },
            "total": _TOTAL,
            "complete": COMPLETE,
        }
    ),
    "LiveTask": closed(
        _ALIVE
        | {
            "parent": maybe(COUNT)
            | {"description": "Of its nearest ancestor that had a number."},
            "task_id": maybe(TEXT) | {"description": "The job that it is at."},
            "numbered_ns": maybe(TIME_NS) | {"description": "When it got its number."},
            "records": COUNT | {"description": "Of its own, that the query finds."},
            "worst": maybe(TEXT) | {"description": "The highest level among them."},
            "last": maybe({"$ref": "#/components/schemas/Record"}),
        }
    ),
    "TaskTree": closed(
        {
            "places": {
                "type": "array",
                "items": {"$ref": "#/components/schemas/TaskPlace"},
                "description": "Each followed by those that are below it.",
            },
            "total": _TOTAL,
            "complete": COMPLETE,
        }
    ),
    "TaskPlace": closed(
        _ALIVE
        | {
            "depth": COUNT | {"description": "0 is a root."},
            "again": maybe({"type": "string", "enum": [*get_args(Again)]})
            | {
                "description": "Why nothing is below it: it stands below itself; or it "
                "stands above, with what is below it. Null where it stands first."
            },
        }
    ),
    "TaskReport": closed(
        {
            "task": {"$ref": "#/components/schemas/LiveTask"},
            "stack": {
                "type": "array",
                "items": closed({"path": TEXT, "line": maybe(COUNT), "function": TEXT}),
                "description": "Where it is, the outermost function first.",
            },
            "awaited_by": _AWAITED | {"description": "The tasks that wait for it."},
            "records": RECORD_LIST | {"description": "Its newest, the oldest first."},
            "trace_id": maybe(TRACE_ID)
            | {
                "description": "It is in it now; up to Python 3.11, it last logged in it."
            },
            "span_id": maybe(SPAN_ID) | {"description": "Likewise."},
            "lost_waker": {
                "type": ["boolean", "null"],
                "description": "A hint: whether nothing can end its wait but "
                "cancellation; null if it waits for no future.",
            },
            "others": _AWAITED
            | {"description": "The other live tasks that the same word means."},
        }
    ),
    "Wait": closed(
        {
            "kind": {"type": "string", "enum": [*get_args(Kind)]},
            "text": TEXT | {"description": "The same for a reader: Queue.get."},
            "awaited": _AWAITED
            | {
                "maxItems": MOST_AWAITED,
                "description": "The asyncio tasks that must be done first.",
            },
            "path": maybe(TEXT) | {"description": "Where, in the program's own code."},
            "line": maybe(COUNT),
            "function": maybe(TEXT),
            "asyncio_task_number": maybe(COUNT) | {"description": "Of who waits."},
            "asyncio_task_name": TEXT,
        }
    ),
}
