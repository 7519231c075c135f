"""Live tasks from JSON, as the API has them: the inverse of ``_live_json.py``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast, get_args

from otel_tasklog.live._tasks import LiveTask
from otel_tasklog.live._tree import Again, TaskPlace
from otel_tasklog.live._waits import AwaitedTask, TaskWait
from otel_tasklog.live._why import StackFrame, TaskReport
from otel_tasklog.viewer._members import Members, check_time
from otel_tasklog.viewer._record_read import read_record

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["read_places", "read_report", "read_tasks"]


def read_tasks(value: Mapping[str, object]) -> list[LiveTask]:
    """Return the live tasks of an answer.

    Args:
        value: What ``json.loads`` made of it. Members that are not known do no harm.

    Raises:
        ValueError: It is none; the message says which member is missing, or is not
            what it should be.
    """
    return [*map(_task, Members(value).objects("tasks"))]


def _task(value: Mapping[str, object]) -> LiveTask:
    members = Members(value)
    return LiveTask(
        **_alive(members),
        parent=members.maybe_whole("parent"),
        task_id=members.maybe_text("task_id"),
        numbered_ns=(
            check_time(members.whole("numbered_ns"))
            if members.has("numbered_ns")
            else None
        ),
        records=members.count("records"),
        worst=members.maybe_text("worst"),
        last=read_record(members.object("last")) if members.has("last") else None,
    )


def read_places(value: Mapping[str, object]) -> list[TaskPlace]:
    """Return the places of an answer that is a tree.

    Raises:
        ValueError: As `read_tasks`; or a place is below none.
    """
    places: list[TaskPlace] = []
    for each in Members(value).objects("places"):
        members = Members(each)
        deepest = places[-1].depth + 1 if places else 0
        places.append(
            TaskPlace(
                **_alive(members),
                depth=members.count("depth", most=deepest),
                again=_again(members),
            )
        )
    return places


def read_report(value: Mapping[str, object]) -> TaskReport:
    """Return the report that an answer is.

    Raises:
        ValueError: As `read_tasks`.
    """
    members = Members(value)
    lost_waker = members.value("lost_waker")
    if not isinstance(lost_waker, bool | None):
        raise ValueError("lost_waker: expected true, false or null")  # noqa: TRY004
    return TaskReport(
        task=_task(members.object("task")),
        stack=tuple(_frame(Members(each)) for each in members.objects("stack")),
        awaited_by=_awaited(members, "awaited_by"),
        records=tuple(map(read_record, members.objects("records"))),
        trace_id=_id(members, "trace_id", 16),
        span_id=_id(members, "span_id", 8),
        lost_waker=lost_waker,
        others=_awaited(members, "others"),
    )


def _alive(members: Members) -> dict[str, Any]:
    """Return what is said alike of every live task."""
    return {
        "number": members.maybe_whole("number"),
        "name": members.text("name"),
        "coroutine": members.text("coroutine"),
        "address": members.whole("address"),
        "wait": _wait(Members(members.object("wait"))) if members.has("wait") else None,
    }


def _wait(members: Members) -> TaskWait:
    return TaskWait(
        kind=cast("Any", members.text("kind")),  # a later version may know more
        text=members.text("text"),
        awaited=_awaited(members, "awaited"),
        path=members.maybe_text("path"),
        line=members.maybe_whole("line"),
        function=members.maybe_text("function"),
        asyncio_task_number=members.maybe_whole("asyncio_task_number"),
        asyncio_task_name=members.text("asyncio_task_name"),
    )


def _awaited(members: Members, name: str) -> tuple[AwaitedTask, ...]:
    tasks = map(Members, members.objects(name))
    return tuple(
        AwaitedTask(task.maybe_whole("number"), task.text("name")) for task in tasks
    )


def _frame(members: Members) -> StackFrame:
    return StackFrame(
        path=members.text("path"),
        line=members.maybe_whole("line"),
        function=members.text("function"),
    )


def _again(members: Members) -> Again | None:
    again = members.maybe_text("again")
    if again is not None and again not in get_args(Again):
        raise ValueError(f"again: expected one of {', '.join(get_args(Again))}")
    return cast("Again | None", again)


def _id(members: Members, name: str, size_bytes: int) -> str | None:
    return members.id(name, size_bytes).hex() if members.has(name) else None
