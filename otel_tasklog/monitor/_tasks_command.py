"""The commands ``tasks``, ``tree`` and ``why``: what is alive, and what it waits for.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import datetime
import time
from typing import TYPE_CHECKING, Final

import click  # noqa: TID253 - this module is imported inside a function

from otel_tasklog._text import count_of
from otel_tasklog.live._task_lines import task_lines
from otel_tasklog.live._task_options import (
    branches_option,
    limit_option,
    order_option,
    records_option,
    waiting_option,
)
from otel_tasklog.live._tree_lines import tree_lines
from otel_tasklog.live._why_lines import why_lines
from otel_tasklog.monitor._options import complete_task, duration
from otel_tasklog.monitor._session import SEARCH_SECONDS, Session, add_command, run

if TYPE_CHECKING:
    from otel_tasklog.live._tasks import Order
    from otel_tasklog.live._tree import Branches

__all__ = ["add"]

MOST_TASKS: Final = 1_000
MOST_RECORDS: Final = 100
_DAYS_SECONDS: Final = 30 * 86_400.0

_TASKS: Final = """List the live tasks and what each last said.

\b
#          our number, which no other task gets; "-" if the task
           has not logged yet
parent     the number of the nearest ancestor that had one
task_id    the job that it is at
waits on   what must happen before it goes on
age        since it has its number
records    how many of its records are kept in memory
worst      the highest level among them
last       the newest of them, and its age

With a QUERY, such as level>=warning, only the tasks that have a record
like that, and what these records say.
"""

_TREE: Final = """Show which live task waits for which, or who made whom.

\b
waits    below a task: those that it waits for
parents  below a task: those that it made, as far as they have numbers

A task that stands below itself is marked as a cycle: none of them can go
on. One that several wait for is shown in full once.
"""

_WHY: Final = """Show what keeps a live task from going on.

What it waits on and where, its stack, who waits for it, its trace, and its
newest records. TASK is as for 'logs'.
"""


def add() -> None:
    """Add them."""
    add_command(_tasks, name="tasks", text=_TASKS, aliases=["t"])
    add_command(_tree, name="tree", text=_TREE)
    add_command(_why, name="why", text=_WHY)


@click.argument("query", nargs=-1)
@waiting_option
@click.option(
    "--silent",
    "silent_seconds",
    type=duration(_DAYS_SECONDS),
    metavar="30s",
    help="Only those without a record for so long.",
)
@order_option
@limit_option("tasks", MOST_TASKS, default=100)
def _tasks(
    context: click.Context,
    *,
    query: tuple[str, ...],
    waiting: bool,
    silent_seconds: float | None,
    order: Order,
    limit: int,
) -> None:
    async def work(session: Session) -> None:
        tasklog = session.tasklog
        found = await asyncio.to_thread(
            tasklog.live_tasks,
            " ".join(query),
            loop=session.monitor.app_loop,
            waiting=waiting,
            silent_seconds=silent_seconds,
            sort=order,
            limit=limit,
            timeout_seconds=SEARCH_SECONDS,
        )
        await session.write(
            task_lines(found, width=session.width, now_ns=time.time_ns())
        )
        kept = (await asyncio.to_thread(tasklog.stats)).kept
        some = f"{len(found)} of " if len(found) < found.total else ""
        tasks = "live task" if found.total == 1 else "live tasks"
        which = "matching " if query or waiting or silent_seconds is not None else ""
        await session.say(
            f"-- {some}{found.total} {which}{tasks}, {count_of(kept)} in the ring",
            complete=found.complete,
        )

    run(context, work)


@branches_option
@limit_option("lines", MOST_TASKS, default=200)
def _tree(context: click.Context, *, branches: Branches, limit: int) -> None:
    async def work(session: Session) -> None:
        found = await asyncio.to_thread(
            session.tasklog.task_tree,
            branches,
            loop=session.monitor.app_loop,
            limit=limit,
        )
        await session.write(tree_lines(found, width=session.width))
        some = f"{len(found)} of " if len(found) < found.total else ""
        below = "that it waits for" if branches == "waits" else "that it made"
        await session.say(
            f"-- {some}{found.total} lines; below a task are those {below}",
            complete=found.complete,
        )

    run(context, work)


@click.argument("task", shell_complete=complete_task)
@records_option(MOST_RECORDS)
def _why(context: click.Context, *, task: str, records: int) -> None:
    async def work(session: Session) -> None:
        report = await asyncio.to_thread(
            session.tasklog.why, task, loop=session.monitor.app_loop, records=records
        )
        now = datetime.datetime.now(datetime.UTC).astimezone()
        await session.write(why_lines(report, width=session.width, now=now))

    run(context, work)
