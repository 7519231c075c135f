"""What each route answers. Each blocks, and is for a thread that may."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, cast

from starlette.responses import Response

from otel_tasklog.capture._values import cut
from otel_tasklog.store._search import Found
from otel_tasklog.viewer._live_json import wait_json
from otel_tasklog.viewer._pieces import Pieces, encode_values
from otel_tasklog.viewer._problem import Problem
from otel_tasklog.viewer._process_json import process_json
from otel_tasklog.viewer._record_json import RecordEncoder, Run, dumps, plain

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._summaries import TaskSummary
    from otel_tasklog.viewer._parameters import Asked

__all__ = ["ANSWERS", "JSON", "NDJSON", "json_answer", "sequence_of"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

TEXT_CHARACTERS: Final = 1_000
"""Of the last message of a job; a longer one is cut."""


def json_answer(value: object) -> Response:
    """Return a value as the answer to a request."""
    return Response(dumps(value) + b"\n", media_type=JSON)


def sequence_of(run: Run, cursor: str) -> int | None:
    """Return where to go on, or None if that was in another process.

    Raises:
        Problem: It is no cursor.
    """
    try:
        return run.sequence_of(cursor)
    except ValueError:
        raise Problem(
            400, f"cursor={cursor!r}: expected an answer's next, or a record's id"
        ) from None


def _records(tasklog: TaskLog, run: Run, asked: Asked) -> Response:
    newest_first, bound = asked["order"] == "newest", _bound(run, asked)
    found = tasklog.query(
        asked["q"],
        limit=asked["limit"] + 1,  # to know whether there are more
        newest_first=newest_first,
        before=bound if newest_first else None,
        after=None if newest_first else bound,
    )
    return _page(found, run, asked)


def _trace(tasklog: TaskLog, run: Run, asked: Asked) -> Response:
    found = tasklog.query(
        trace_id=asked["trace_id"],
        limit=asked["limit"] + 1,
        newest_first=False,
        after=_bound(run, asked),
    )
    return _page(found, run, asked)


def _context(tasklog: TaskLog, run: Run, asked: Asked) -> Response:
    sequence = int(asked["sequence"])
    at = tasklog.query(after=sequence - 1, before=sequence + 1, limit=1)
    if not at:
        raise Problem(404, f"no record with the sequence {sequence} is in memory")
    found = tasklog.context(
        at[0],
        before=asked["before"],
        after=asked["after"],
        same_task=asked["same_task"],
    )
    return _page(Found(found), run, {**asked, "limit": len(found)})


def _bound(run: Run, asked: Asked) -> int | None:
    if asked["cursor"] is None:
        return None
    bound = sequence_of(run, asked["cursor"])
    if bound is None:
        raise Problem(
            400,
            "the cursor is of another process, or the program was restarted: ask "
            "without it",
        )
    return bound


def _page(found: Found[TaskRecord], run: Run, asked: Asked) -> Response:
    """Return what was found, up to the limit and to what one answer may hold."""
    lines = asked["format"] == "ndjson"
    before, between = (b"", b"\n") if lines else (b'{"records":[', b",")
    encode = RecordEncoder(run).encode
    pieces, count = encode_values(found[: asked["limit"]], encode, before, between)
    following = None
    if count and (len(found) > count or not found.complete):
        following = run.id_of(found[count - 1].sequence)
    if lines:
        pieces.append(b"\n" if count else b"")
        headers = {"Tasklog-Complete": str(found.complete).lower()}
        if following is not None:
            headers["Tasklog-Next"] = following
        return Pieces(pieces, headers=headers, media_type=NDJSON)
    end = dumps({"complete": found.complete, "next": following})
    pieces.append(b"],%s\n" % end[1:])
    return Pieces(pieces, media_type=JSON)


def _tasks(tasklog: TaskLog, _run: Run, asked: Asked) -> Response:
    found = tasklog.tasks(asked["q"], limit=asked["limit"], alive=asked["alive"])
    return json_answer({"tasks": [*map(_task, found)], "complete": found.complete})


def _task(task: TaskSummary) -> dict[str, object]:
    message = cut(task.last_message, TEXT_CHARACTERS)
    fields = cast(
        "dict[str, object]", plain(dataclasses.replace(task, last_message=message))
    )
    return {**fields, "waits_on": wait_json(task.waits_on)}


def _counts(tasklog: TaskLog, _run: Run, asked: Asked) -> Response:
    counts = tasklog.counts(
        asked["q"],
        by=asked["by"],
        bucket_seconds=asked["bucket_seconds"],
        limit=asked["limit"],
    )
    return json_answer(plain(counts))


def _stats(tasklog: TaskLog, _run: Run, _asked: Asked) -> Response:
    return json_answer(plain(tasklog.stats()))


def _process(tasklog: TaskLog, _run: Run, _asked: Asked) -> Response:
    return json_answer(process_json(tasklog))


ANSWERS: Final[Mapping[str, Callable[[TaskLog, Run, Asked], Response]]] = {
    "/v1/records": _records,
    "/v1/tasks": _tasks,
    "/v1/counts": _counts,
    "/v1/trace/{trace_id}": _trace,
    "/v1/context/{sequence}": _context,
    "/v1/stats": _stats,
    "/v1/process": _process,
}
