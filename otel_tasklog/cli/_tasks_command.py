"""``otel-tasklog tasks``: the jobs of running processes, and what each waits on."""

from __future__ import annotations

import contextlib
import json
import sys
from functools import partial
from time import sleep, time_ns
from typing import TYPE_CHECKING, Any, Final, NamedTuple, NoReturn, cast

import click  # noqa: TID253 - see _commands
from rich.text import Text  # noqa: TID253

from otel_tasklog._text import cut, printable_json, visible
from otel_tasklog.cli._asking import json_option, query_argument
from otel_tasklog.cli._background import begin
from otel_tasklog.cli._choose import choosing
from otel_tasklog.cli._client import Peer
from otel_tasklog.cli._console import make_console
from otel_tasklog.cli._failures import FAILED, Unreachable, complain
from otel_tasklog.cli._replies import unknown
from otel_tasklog.cli._seconds import (
    LONGEST_PAUSE_SECONDS,
    SHORTEST_PAUSE_SECONDS,
    Seconds,
)
from otel_tasklog.cli._task_table import ORDERS, Job, read_job, task_lines
from otel_tasklog.viewer._openapi import RECORDS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from concurrent.futures import Future

    from rich.console import Console

    from otel_tasklog.cli._choose import Answer, Chosen

__all__ = ["tasks"]

_ROUTE: Final = "/v1/tasks"
_FEWEST_LINES: Final = 3
"""What a terminal shows of the table at least, if it says that it has fewer lines."""


@click.command("tasks")
@query_argument
@choosing
@click.option("--alive", is_flag=True, help="Only jobs that are not done.")
@click.option(
    "--sort",
    "order",
    type=click.Choice([*ORDERS]),
    default="last",
    show_default=True,
    help="What comes first: what logged last, has the most records, or the worst level; "
    "or by name.",
)
@click.option(
    "-n", "--limit", type=click.IntRange(min=1), help="How many jobs to show at most."
)
@click.option(
    "--interval",
    "pause_seconds",
    type=Seconds(SHORTEST_PAUSE_SECONDS, LONGEST_PAUSE_SECONDS),
    default=2.0,
    show_default=True,
    metavar="SECONDS",
    help="The pause between two looks.",
)
@click.option("--once", is_flag=True, help="Look once, on a terminal too.")
@json_option
def tasks(  # noqa: PLR0913 - as many as there are options
    words: tuple[str, ...],
    *,
    chosen: Chosen,
    alive: bool,
    order: str,
    limit: int | None,
    pause_seconds: float,
    once: bool,
    as_json: bool,
) -> None:
    """Show the jobs of running processes, and what each waits on.

    For each: the job around it; what its asyncio task waits on and where, or that it
    is done; how many records it has in memory, their worst level, and the last of
    them. On a terminal the table is renewed until Ctrl-C; in a pipe, and with
    TERM=dumb, it is printed once.

    QUERY says which records count; without one they all do. Of each process the 1,000
    jobs that logged last are looked at.

    Exit status: 0 if there is a job, 1 if there is none or a process did not answer, 2
    for bad usage, 3 if no process can be asked, 130 after Ctrl-C.
    """
    look = partial(_look, chosen, " ".join(words), alive=alive)
    first = look()
    chosen.report(first.answers)
    show = _Show(order, limit)
    console = make_console()
    renewable = console.is_terminal and not console.is_dumb_terminal
    if renewable and not (once or as_json):
        _watch(console, show, first, look, pause_seconds)
    for note in first.notes:
        complain(note)
    jobs = show.chosen(first)
    if as_json:
        for job in jobs:
            print(printable_json(json.dumps(job.answer)))
    else:
        for line in show.lines(first, console.width if console.is_terminal else None):
            _print(console, line)
    if not jobs:
        sys.exit(FAILED)


class _Listed(NamedTuple):
    """A job, and what its process answered of it."""

    job: Job
    answer: Mapping[str, object]


class _Found(NamedTuple):
    """What one look found.

    Attributes:
        answers: What became of each process.
        jobs: The jobs of those that answered.
        notes: What else is to be said.
    """

    answers: list[Answer]
    jobs: list[_Listed]
    notes: list[str]

    def names(self) -> set[str]:
        """Return the names of the processes that answered."""
        return {each.name for _, each in self.answers if isinstance(each, Peer)}


def _look(chosen: Chosen, query: str, *, alive: bool) -> _Found:
    found = _Found([], [], [])
    begun: list[tuple[Peer, Future[Any]]] = []
    for place, answer in chosen.answers():
        if isinstance(answer, Peer):
            asked = {"q": query, "limit": RECORDS, "alive": alive or None}
            begun.append((answer, begin(partial(answer.get, _ROUTE, **asked))))
        else:
            found.answers.append((place, answer))
    for peer, asking in begun:
        with contextlib.closing(peer):
            try:
                complete = _read(peer, asking.result(), found.jobs)
            except Unreachable as failure:
                found.answers.append((peer.place, failure))
                continue
        found.answers.append((peer.place, peer))
        if not complete:
            found.notes.append(f"{peer.name} had no time to look at all of its memory")
    return found


def _read(peer: Peer, answer: object, jobs: list[_Listed]) -> bool:
    """Add the jobs that a process answered; return whether those are all."""
    who = {"service_name": peer.info.service_name, "pid": peer.info.pid}
    try:
        known = cast("dict[str, Any]", answer)
        jobs += [
            _Listed(read_job(peer.name, each), {**who, **each})
            for each in known["tasks"]
        ]
        return bool(known["complete"])
    except (LookupError, TypeError, ValueError):
        raise unknown(peer.name) from None


class _Show(NamedTuple):
    """What of it is shown: in which order, and how much."""

    order: str
    limit: int | None

    def chosen(self, found: _Found) -> list[_Listed]:
        key = ORDERS[self.order]
        return sorted(found.jobs, key=lambda each: key(each.job))[: self.limit]

    def lines(self, found: _Found, width: int | None) -> Iterator[Text]:
        jobs = [each.job for each in self.chosen(found)]
        for line in task_lines(
            jobs,
            several=len(found.names()) > 1,
            now_ns=time_ns(),
            width=width,
        ):
            text = Text.assemble(*line)
            text.rstrip()
            yield text


def _print(console: Console, line: Text) -> None:
    if console.is_terminal:
        console.print(line, soft_wrap=True)
    else:
        print(line.plain)


def _watch(
    console: Console,
    show: _Show,
    found: _Found,
    look: Callable[[], _Found],
    pause_seconds: float,
) -> NoReturn:
    """Renew the table until Ctrl-C; the last one stays on the terminal."""
    from rich.live import Live

    frame = Text()
    away: set[str] = set()
    try:
        with Live(console=console, screen=True, auto_refresh=False) as live:
            while True:
                frame = _frame(console, show, found, away)
                live.update(frame, refresh=True)
                sleep(pause_seconds)
                before = found.names() | away
                try:
                    found = look()
                except Unreachable as failure:  # there are no access points any more
                    found = _Found([(None, failure)], [], [])
                away = before - found.names()
    finally:
        console.print(frame, soft_wrap=True)


def _frame(console: Console, show: _Show, found: _Found, away: set[str]) -> Text:
    """Return what fits on the terminal: the table, and below it what is to be said."""
    width, height = console.size
    failures = [each for _, each in found.answers if isinstance(each, Unreachable)]
    notes = [
        *(f"{name} does not answer any more" for name in sorted(away)),
        *(each.message for each in failures if found.names() or not away),
        *found.notes,
    ]
    alive = sum(each.job.alive is True for each in found.jobs)
    processes = len(found.names())
    summary = f"-- jobs: {len(found.jobs)}, alive: {alive}, processes: {processes}"
    below = [Text(summary, "dim")]
    below += [Text(cut(visible(each), width), "yellow") for each in notes]
    room = max(height - len(below), _FEWEST_LINES)
    table = [*show.lines(found, width)][:room]
    return Text("\n", no_wrap=True, overflow="crop").join([*table, *below])
