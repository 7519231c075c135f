"""What each route answers. Each blocks, and is for a thread that may."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final, cast

from starlette.responses import Response

from otel_tasklog.capture._values import cut
from otel_tasklog.store._search import Found
from otel_tasklog.viewer._live_json import wait_json
from otel_tasklog.viewer._problem import Problem
from otel_tasklog.viewer._process_json import process_json
from otel_tasklog.viewer._record_json import RecordEncoder, Run, dumps, plain
from otel_tasklog.viewer._tail import SLICE_SECONDS, rest_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._summaries import TaskSummary
    from otel_tasklog.viewer._parameters import Asked

__all__ = ["ANSWERS", "JSON", "NDJSON", "RESPONSE_BYTES", "json_answer", "sequence_of"]

JSON: Final = "application/json"
NDJSON: Final = "application/x-ndjson"

RESPONSE_BYTES: Final = 16 * 1024 * 1024
"""Of records in one answer; the first that is over it begins the next page."""

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
    records = _encoded(found[: asked["limit"]], run)
    following = None
    if records and (len(found) > len(records) or not found.complete):
        following = run.id_of(found[len(records) - 1].sequence)
    if asked["format"] == "ndjson":
        headers = {"Tasklog-Complete": str(found.complete).lower()}
        if following is not None:
            headers["Tasklog-Next"] = following
        body = b"".join(record + b"\n" for record in records)
        return Response(body, headers=headers, media_type=NDJSON)
    end = dumps({"complete": found.complete, "next": following})
    body = b'{"records":[%s],%s\n' % (b",".join(records), end[1:])
    return Response(body, media_type=JSON)


def _encoded(found: Iterable[TaskRecord], run: Run) -> list[bytes]:
    """Return the JSON of as many records as one answer may hold, one at least.

    With rests, as a tail: the application's event loop needs the interpreter, too.
    """
    encoder = RecordEncoder(run)
    encoded: list[bytes] = []
    size, started = 0, time.perf_counter()
    for record in found:
        if time.perf_counter() - started >= SLICE_SECONDS:
            time.sleep(rest_seconds(started))
            started = time.perf_counter()
        encoded.append(encoder.encode(record))
        size += len(encoded[-1])
        if size > RESPONSE_BYTES:
            if len(encoded) > 1:
                encoded.pop()
            break
    return encoded


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
