"""``otel-tasklog live``: the asyncio tasks of running processes that are not done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import json_option, query_argument
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._live_answers import show_lists
from otel_tasklog.cli._seconds import Seconds
from otel_tasklog.live._task_lines import task_lines
from otel_tasklog.live._task_options import limit_option, order_option, waiting_option
from otel_tasklog.viewer._live_read import read_tasks
from otel_tasklog.viewer._openapi import LONGEST_SECONDS, RECORDS, SHORTEST_SECONDS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.live._tasks import LiveTask

__all__ = ["live"]


@click.command("live")
@query_argument
@choosing
@waiting_option
@click.option(
    "--silent",
    "silent_seconds",
    type=Seconds(SHORTEST_SECONDS, LONGEST_SECONDS),
    metavar="SECONDS",
    help="Only tasks without a record for so long: 30s, 5m, 2h.",
)
@order_option
@limit_option("tasks of each process", RECORDS, default=200)
@json_option
def live(
    words: tuple[str, ...],
    *,
    chosen: Chosen,
    waiting: bool,
    silent_seconds: float | None,
    order: str,
    limit: int,
    as_json: bool,
) -> None:
    """Show the asyncio tasks that are not done, and what each waits on.

    For each: its number, that of the task that made it, its name, the job that it is
    at, its coroutine, what it waits on, its age since it has a number, how many records
    it has in memory, their worst level, and the last of them. A task that has never
    logged has no number.

    With a QUERY only tasks that have a record that it finds, and what these records
    say.

    Exit status: 0 if there is a task, 1 if there is none or a process did not answer, 2
    for bad usage, 3 if no process can be asked.
    """

    def lines(tasks: Sequence[LiveTask], width: int) -> list[str]:
        return task_lines(tasks, width=width, now_ns=time.time_ns())

    show_lists(
        chosen,
        "/v1/live",
        "tasks",
        read_tasks,
        lines,
        as_json=as_json,
        fewer=": a QUERY, --waiting or --silent says which",
        q=" ".join(words),
        waiting=waiting,
        silent_seconds=silent_seconds,
        sort=order,
        limit=limit,
    )
