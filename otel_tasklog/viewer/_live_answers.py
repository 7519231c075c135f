"""What the routes of live tasks answer. Each blocks, and is for a thread that may."""

from __future__ import annotations

import dataclasses
import time
from typing import TYPE_CHECKING, Final, TypeVar

from starlette.responses import Response

from otel_tasklog._errors import TaskNotFoundError
from otel_tasklog.viewer._answers import JSON, RESPONSE_BYTES
from otel_tasklog.viewer._live_json import place_json, report_json, task_json
from otel_tasklog.viewer._problem import Problem
from otel_tasklog.viewer._record_json import dumps, record_json
from otel_tasklog.viewer._tail import SLICE_SECONDS, rest_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from otel_tasklog._live_reader import Listing
    from otel_tasklog._tasklog import TaskLog
    from otel_tasklog.viewer._parameters import Asked
    from otel_tasklog.viewer._record_json import Run

__all__ = ["LIVE_ANSWERS"]

T = TypeVar("T")


def _live(tasklog: TaskLog, run: Run, asked: Asked) -> Response:
    found = tasklog.live_tasks(
        asked["q"],
        waiting=asked["waiting"],
        silent_seconds=asked["silent_seconds"],
        sort=asked["sort"],
        limit=asked["limit"],
    )
    return _listed("tasks", found, lambda task: task_json(task, run))


def _tree(tasklog: TaskLog, _run: Run, asked: Asked) -> Response:
    found = tasklog.task_tree(asked["by"], limit=asked["limit"])
    return _listed("places", found, place_json)


def _why(tasklog: TaskLog, run: Run, asked: Asked) -> Response:
    try:
        report = tasklog.why(asked["task"], records=asked["records"])
    except TaskNotFoundError as error:
        raise Problem(404, str(error)) from None
    members = report_json(dataclasses.replace(report, records=()), run)
    del members["records"]
    records = _encoded(report.records, lambda record: record_json(record, run))
    return _answer("records", records, members)


def _listed(
    name: str, found: Listing[T], json_of: Callable[[T], dict[str, object]]
) -> Response:
    encoded = _encoded(found, json_of)
    complete = found.complete and len(encoded) == len(found)
    return _answer(name, encoded, {"total": found.total, "complete": complete})


def _encoded(
    values: Iterable[T], json_of: Callable[[T], dict[str, object]]
) -> list[bytes]:
    """Return the JSON of as many values as one answer may hold, one at least.

    With rests, as a tail: the application's event loop needs the interpreter, too.
    """
    encoded: list[bytes] = []
    size, started = 0, time.perf_counter()
    for each in values:
        if time.perf_counter() - started >= SLICE_SECONDS:
            time.sleep(rest_seconds(started))
            started = time.perf_counter()
        encoded.append(dumps(json_of(each)))
        size += len(encoded[-1])
        if size > RESPONSE_BYTES:
            break
    return encoded


def _answer(name: str, encoded: list[bytes], others: dict[str, object]) -> Response:
    """Return an answer of which one member is a list, and what else it has."""
    end = dumps(others)
    body = b'{"%s":[%s],%s\n' % (name.encode(), b",".join(encoded), end[1:])
    return Response(body, media_type=JSON)


LIVE_ANSWERS: Final[Mapping[str, Callable[[TaskLog, Run, Asked], Response]]] = {
    "/v1/live": _live,
    "/v1/tree": _tree,
    "/v1/why": _why,
}
