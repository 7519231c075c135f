"""``otel-tasklog tree``: who waits for whom, or who made whom."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import json_option
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._live_answers import show_lists
from otel_tasklog.live._task_options import branches_option, limit_option
from otel_tasklog.live._tree_lines import tree_lines
from otel_tasklog.viewer._live_read import read_places
from otel_tasklog.viewer._openapi import RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.live._tree import TaskPlace

__all__ = ["tree"]


@click.command("tree")
@choosing
@branches_option
@limit_option("lines of each process", RECORDS, default=RECORDS)
@json_option
def tree(*, chosen: Chosen, branches: str, limit: int, as_json: bool) -> None:
    """Show which asyncio task waits for which, or who made whom.

    A task that stands below itself is marked as a cycle: none of those in it can go on.
    What is below a task that stands in several places is shown once.

    Exit status: 0 if there is a task, 1 if there is none or a process did not answer, 2
    for bad usage, 3 if no process can be asked.
    """

    def lines(places: Sequence[TaskPlace], width: int) -> Iterator[str]:
        return tree_lines(places, width=width)

    show_lists(
        chosen,
        "/v1/tree",
        "places",
        read_places,
        lines,
        as_json=as_json,
        by=branches,
        limit=limit,
    )
