"""``otel-tasklog why``: what keeps an asyncio task from going on."""

from __future__ import annotations

import datetime
from functools import partial
from typing import TYPE_CHECKING, NamedTuple

import click  # noqa: TID253 - see _commands

from otel_tasklog.cli._asking import json_option
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._failures import Failure, Unreachable
from otel_tasklog.cli._live_answers import print_json, print_texts, read_answer
from otel_tasklog.live._task_options import records_option
from otel_tasklog.live._why_lines import why_lines
from otel_tasklog.viewer._live_read import read_report
from otel_tasklog.viewer._openapi import REPORT_RECORDS

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from otel_tasklog.cli._choose import Chosen
    from otel_tasklog.cli._client import Peer
    from otel_tasklog.live._why import TaskReport

__all__ = ["why"]


class _Report(NamedTuple):
    """What a process knows of the task: as it answered it, and read."""

    answer: Mapping[str, object]
    report: TaskReport


@click.command("why")
@click.argument("task")
@choosing
@records_option(REPORT_RECORDS)
@json_option
def why(*, task: str, chosen: Chosen, records: int, as_json: bool) -> None:
    """Show what keeps an asyncio task from going on.

    What it waits on and where, who waits for it, its trace, its stack, and its newest
    records. TASK is a number, as in '#4'; the id of a job; the name of a task; or what
    aiomonitor's ps shows as Task ID. Of several processes, those show it that have it.

    Exit status: 0 if there is such a task, 1 if there is none or a process did not
    answer, 2 for bad usage, 3 if no process can be asked.
    """

    def ask(peer: Peer) -> _Report | Failure:
        try:
            answer: object = peer.get("/v1/why", task=task, records=records)
        except Unreachable:
            raise
        except Failure as failure:  # no such task is there
            return failure
        return read_answer(
            peer, answer, lambda value: _Report(value, read_report(value))
        )

    found = chosen.each(ask)
    reports = [(peer, each) for peer, each in found if isinstance(each, _Report)]
    if not reports:
        unknown = [each for _, each in found if isinstance(each, Failure)]
        chosen.go_on_after(unknown, nothing_left=True)
    if as_json:
        print_json((peer, each.answer) for peer, each in reports)
    else:
        print_texts([(peer, partial(_lines, each.report)) for peer, each in reports])


def _lines(report: TaskReport, width: int) -> Iterator[str]:
    now = datetime.datetime.now(datetime.UTC).astimezone()
    return why_lines(report, width=width, now=now)
