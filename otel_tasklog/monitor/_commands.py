"""The commands ``tasks`` and ``logs`` of the telnet session.

aiomonitor's commands belong to the process, not to a monitor, so they are added
once and find their TaskLog through the session's monitor. Imported only when a
monitor starts.
"""

from __future__ import annotations

import datetime
import functools
import textwrap
import time
from typing import TYPE_CHECKING, Any, Final, cast

import aiomonitor.termui.commands  # type: ignore[import-untyped]  # noqa: TID253 - this module is imported inside a function
import click  # noqa: TID253 - ditto
from aiomonitor.context import current_monitor  # type: ignore[import-untyped]  # noqa: TID253
from prompt_toolkit.application.current import get_app_session

from otel_tasklog._text import visible
from otel_tasklog.monitor._guarded import GuardedMonitor
from otel_tasklog.monitor._log_view import NotFound, find, log_lines
from otel_tasklog.monitor._tasks_view import NARROWEST, live_tasks, table, task_rows

if TYPE_CHECKING:
    from collections.abc import Iterator

    from otel_tasklog.monitor._tasks_view import LiveTask

__all__ = ["complete_task", "register"]

DEFAULT_RECORDS: Final = 20
MOST_RECORDS: Final = 1_000
MOST_TASKS: Final = 1_000
MOST_COMPLETIONS: Final = 20
DEFAULT_WIDTH: Final = 79

_TASKS_HELP: Final = """List the live tasks and what each last said.

\b
#          our number, which no other task gets; "-" if the task
           has not logged yet
parent     the number of the nearest ancestor that had one
task_id    the job that its newest record belongs to
waits on   what must happen before it goes on
records    how many of its records are kept in memory
worst      the highest level among them
last       the newest of them, and its age
"""

_LOGS_HELP: Final = """Show the newest records of one task, the oldest first.

TASK is, in this order:

\b
#4         the task of that number in 'tasks', also after its end
order-1    a job: the records with that task_id, of all its tasks
Task-4     the tasks of that name
140193...  a Task ID of 'ps', only while that task is alive: the
           next task is likely to get the same ID
4          a number, if nothing else is called so
"""


@functools.cache
def register() -> None:
    """Add the commands to aiomonitor's, once."""
    aiomonitors = cast("Any", aiomonitor.termui.commands)
    help_option, done = aiomonitors.custom_help_option, aiomonitors.auto_command_done
    command = aiomonitors.monitor_cli.command
    # click's own --help never gives the prompt back.
    options = help_option(done(_tasks))
    command(name="tasks", aliases=["t"], help=_TASKS_HELP)(options)

    options = help_option(done(_logs))
    options = click.option(
        "-n",
        "count",
        type=click.IntRange(1, MOST_RECORDS),
        default=DEFAULT_RECORDS,
        show_default=True,
        help="How many records.",
    )(options)
    options = click.argument("task", shell_complete=complete_task)(options)
    command(name="logs", aliases=["l"], help=_LOGS_HELP)(options)


def _tasks(context: click.Context) -> None:
    monitor = _ours(context)
    tasklog = monitor.tasklog
    live = live_tasks(monitor.app_loop, tasklog.port.clean, waits=MOST_TASKS)
    rows = task_rows(live[:MOST_TASKS], tasklog.query(limit=None))
    lines = table(rows, width=_width(), now_ns=time.time_ns())
    shown = f"{len(rows)} of " if len(rows) < len(live) else ""
    kept = tasklog.stats().kept
    summary = f"-- {shown}{len(live)} live tasks, {kept} records in the ring"
    _write([*lines, summary])


def _logs(context: click.Context, task: str, count: int) -> None:
    monitor = _ours(context)
    tasklog = monitor.tasklog
    found = find(task, _live(monitor), tasklog)
    width = _width()
    if isinstance(found, NotFound):
        _write(textwrap.wrap(found.why, width))
        return
    _write(
        log_lines(
            found,
            count=count,
            kept=tasklog.stats().kept,
            width=width,
            now=datetime.datetime.now(datetime.UTC).astimezone(),
        )
    )


def complete_task(
    context: click.Context,  # noqa: ARG001 - click's signature
    parameter: click.Parameter,  # noqa: ARG001 - ditto
    incomplete: str,
) -> list[str]:
    """Return what TASK could be, out of the names and jobs of live tasks."""
    monitor = current_monitor.get(None)  # a completion's context has no monitor
    if not isinstance(monitor, GuardedMonitor):
        return []
    words = {
        word
        for word in _words(monitor)
        # One that must be quoted, or shown other than it is, cannot be typed.
        if word.startswith(incomplete) and word == visible(word) and _plain(word)
    }
    return sorted(words)[:MOST_COMPLETIONS]


def _live(monitor: GuardedMonitor) -> list[LiveTask]:
    return live_tasks(monitor.app_loop, monitor.tasklog.port.clean)


def _words(monitor: GuardedMonitor) -> Iterator[str]:
    live = _live(monitor)
    for row in task_rows(live, monitor.tasklog.query(limit=None)):
        yield row.task.name
        if row.task.number is not None:
            yield f"#{row.task.number}"
        if row.task_id is not None:
            yield row.task_id


def _plain(word: str) -> bool:
    return not set(word) & set(" \"'\\")


def _ours(context: click.Context) -> GuardedMonitor:
    if not isinstance(context.obj, GuardedMonitor):
        raise click.UsageError("This monitor was not started by otel_tasklog.")
    return context.obj


def _width() -> int:
    # A terminal without a size says 0 x 0.
    columns = get_app_session().output.get_size().columns
    return max(columns, NARROWEST) if columns > 0 else DEFAULT_WIDTH


def _write(lines: list[str]) -> None:
    # All at once: each write may wait for the client.
    click.echo("\n".join(lines))
