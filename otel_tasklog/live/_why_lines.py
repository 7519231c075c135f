"""What keeps a live task from going on, as lines for a terminal of some width."""

from __future__ import annotations

from typing import TYPE_CHECKING

from otel_tasklog._text import continued, visible
from otel_tasklog.live._record_lines import folded, record_lines

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterable, Iterator

    from otel_tasklog.live._waits import AwaitedTask, TaskWait
    from otel_tasklog.live._why import TaskReport

__all__ = ["why_lines"]


def why_lines(
    report: TaskReport, *, width: int, now: datetime.datetime
) -> Iterator[str]:
    """Yield what is told of a task: what it waits on, where, who waits, what it said.

    Args:
        report: What `TaskLog.why` returns.
        width: The terminal's, in cells; no line is wider.
        now: In the time zone to show times in.
    """
    for line in _facts(report):
        yield from folded(line, width)
    if report.stack:
        yield "stack, the innermost last:"
        for frame in report.stack:
            line = "" if frame.line is None else f":{frame.line}"
            yield from continued(f"{frame.path}{line} in {frame.function}", width)
    if report.records:
        yield f"the newest of {report.task.records} records:"
    for record in report.records:
        yield from record_lines(record, width=width, now=now)


def _facts(report: TaskReport) -> Iterator[str]:
    task = report.task
    job = "" if task.task_id is None else f", at job {visible(task.task_id)}"
    yield f"task {_named(task.number, task.name)} ({visible(task.coroutine)}){job}"
    if task.wait is not None:
        yield from _wait(task.wait)
    if report.lost_waker:
        yield (
            "hint: nothing else seems to have the future that it waits for, so that "
            "nobody can wake it; but what is written in C may hide who has it"
        )
    if report.awaited_by:
        yield f"awaited by {_list(report.awaited_by)}"
    if report.trace_id is not None:
        span = "" if report.span_id is None else f", span {report.span_id}"
        yield f"trace {report.trace_id}{span}"
    if not task.records:
        yield "no record of it is in memory"
    if report.others:
        yield f"the same word also means {_list(report.others)}"


def _wait(wait: TaskWait) -> Iterator[str]:
    verb = "is" if wait.kind in {"running", "ready"} else "waits on"
    place = ""
    if wait.path is not None:
        line = "" if wait.line is None else f":{wait.line}"
        place = f", at {visible(wait.path)}{line} in {visible(wait.function)}"
    yield f"{verb} {visible(wait.text)}{place}"
    if wait.awaited and wait.kind != "task":
        yield f"for {_list(wait.awaited)}"


def _list(tasks: Iterable[AwaitedTask]) -> str:
    return ", ".join(_named(each.number, each.name) for each in tasks)


def _named(number: int | None, name: str) -> str:
    return visible(name) if number is None else f"#{number} {visible(name)}"
