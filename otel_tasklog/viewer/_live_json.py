"""Live tasks as JSON: the fields of the public values, records as the API has them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog.viewer._record_json import plain, record_json

if TYPE_CHECKING:
    from collections.abc import Iterable

    from otel_tasklog.live._tasks import LiveTask
    from otel_tasklog.live._tree import TaskPlace
    from otel_tasklog.live._waits import AwaitedTask, TaskWait
    from otel_tasklog.live._why import TaskReport
    from otel_tasklog.viewer._record_json import Run

__all__ = ["place_json", "report_json", "task_json", "wait_json"]


def task_json(task: LiveTask, run: Run) -> dict[str, object]:
    """Return a live task as a value for `dumps`.

    Args:
        task: The task.
        run: Makes the ``id`` of its last record.
    """
    return {
        "number": task.number,
        "parent": task.parent,
        "name": task.name,
        "task_id": task.task_id,
        "coroutine": task.coroutine,
        "address": plain(task.address),
        "wait": wait_json(task.wait),
        "numbered_ns": None if task.numbered_ns is None else str(task.numbered_ns),
        "records": task.records,
        "worst": task.worst,
        "last": None if task.last is None else record_json(task.last, run),
    }


def place_json(place: TaskPlace) -> dict[str, object]:
    """Return a place of a task in a tree as a value for `dumps`."""
    return {
        "depth": place.depth,
        "again": place.again,
        "number": place.number,
        "name": place.name,
        "coroutine": place.coroutine,
        "address": plain(place.address),
        "wait": wait_json(place.wait),
    }


def report_json(report: TaskReport, run: Run) -> dict[str, object]:
    """Return what is known of one live task as a value for `dumps`.

    Args:
        report: The report.
        run: Makes the ``id`` of each record.
    """
    return {
        "task": task_json(report.task, run),
        "stack": [frame._asdict() for frame in report.stack],
        "awaited_by": _awaited(report.awaited_by),
        "records": [record_json(record, run) for record in report.records],
        "trace_id": report.trace_id,
        "span_id": report.span_id,
        "lost_waker": report.lost_waker,
        "others": _awaited(report.others),
    }


def wait_json(wait: TaskWait | None) -> dict[str, object] | None:
    """Return what a task waits on as a value for `dumps`."""
    if wait is None:
        return None
    return {**wait._asdict(), "awaited": _awaited(wait.awaited)}


def _awaited(tasks: Iterable[AwaitedTask]) -> list[dict[str, object]]:
    return [task._asdict() for task in tasks]
