"""What the routes of live tasks answer. Each blocks, and is for a thread that may."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final, TypeVar

from otel_tasklog._errors import TaskNotFoundError
from otel_tasklog.viewer._answers import JSON
from otel_tasklog.viewer._live_json import place_json, report_json, task_json
from otel_tasklog.viewer._pieces import Pieces, encode_values
from otel_tasklog.viewer._problem import Problem
from otel_tasklog.viewer._record_json import RecordEncoder, dumps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from starlette.responses import Response

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
    encode = RecordEncoder(run).encode
    pieces, _ = encode_values(report.records, encode, b'{"records":[', b",")
    return _ended(pieces, members)


def _listed(
    name: str, found: Listing[T], json_of: Callable[[T], dict[str, object]]
) -> Response:
    before = b'{"%s":[' % name.encode()
    pieces, count = encode_values(
        found, lambda each: dumps(json_of(each)), before, b","
    )
    complete = found.complete and count == len(found)
    return _ended(pieces, {"total": found.total, "complete": complete})


def _ended(pieces: list[bytes], others: dict[str, object]) -> Response:
    """Return an answer of which the list is encoded, and what else it has."""
    pieces.append(b"],%s\n" % dumps(others)[1:])
    return Pieces(pieces, media_type=JSON)


LIVE_ANSWERS: Final[Mapping[str, Callable[[TaskLog, Run, Asked], Response]]] = {
    "/v1/live": _live,
    "/v1/tree": _tree,
    "/v1/why": _why,
}
