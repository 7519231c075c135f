"""The command ``logs``: the records of a task, of a query, of both, as they come.

Imported only when a monitor starts.
"""

from __future__ import annotations

import asyncio
import datetime
from itertools import chain
from typing import TYPE_CHECKING, Final, NamedTuple

import click  # noqa: TID253 - this module is imported inside a function

from otel_tasklog._errors import TaskNotFoundError
from otel_tasklog._text import count_of, visible
from otel_tasklog.live._record_lines import record_lines
from otel_tasklog.monitor._options import complete_task
from otel_tasklog.monitor._session import SEARCH_SECONDS, Session, add_command, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tasklog._find import FoundTask
    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.store._expression import Expression

__all__ = ["add"]

DEFAULT_RECORDS: Final = 20
MOST_RECORDS: Final = 1_000

FOLLOWED_RECORDS: Final = 50
"""So many are shown at once, at most, of those that come."""

PAUSE_SECONDS: Final = 0.1
"""Between two of these pieces: more cannot be read, and the others have their turn."""

LOOK_SECONDS: Final = 0.5
"""So often a task that has not logged yet is looked at, whether it has."""

_IN_QUERIES: Final = frozenset(':<>=()"/@')
"""What the first word of a query has, and no TASK."""

_LOGS: Final = """Show the newest records, the oldest of them first.

TASK is, in this order:

\b
#4         the task of that number in 'tasks', also after its end
order-1    a job: the records with that task_id, of all its tasks
Task-4     the tasks of that name
140193...  a Task ID of 'ps', only while that task is alive: the
           next task is likely to get the same ID
4          a number, if nothing else is called so
4bf92f...  the records of a trace, by all 32 digits of its id

Without a TASK those of all. QUERY is which of them, such as
level>=warning timeout; without a TASK it begins with a field, as
message:timeout does.
"""


def add() -> None:
    """Add it."""
    add_command(_logs, name="logs", text=_LOGS, aliases=["l"])


@click.argument(
    "words", nargs=-1, metavar="[TASK] [QUERY]", shell_complete=complete_task
)
@click.option(
    "-n",
    "count",
    type=click.IntRange(1, MOST_RECORDS),
    default=DEFAULT_RECORDS,
    show_default=True,
    help="How many records.",
)
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with those that come, until a key."
)
def _logs(
    context: click.Context, *, words: tuple[str, ...], count: int, follow: bool
) -> None:
    async def work(session: Session) -> None:
        asked = await asyncio.to_thread(_meant, session, words)
        await (_follow if follow else _show)(session, asked, count)

    run(context, work, any_key=follow)


class _Asked(NamedTuple):
    """What is to be shown.

    Attributes:
        word: TASK, or the empty text.
        task: What that means, or None without one.
        query: The text of the query.
    """

    word: str
    task: FoundTask | None
    query: str

    def __str__(self) -> str:
        whose = f" of {self.task.what}" if self.task is not None else ""
        return f"{whose} with {visible(self.query)}" if self.query else whose


def _meant(session: Session, words: tuple[str, ...]) -> _Asked:
    if not words:
        return _Asked("", None, "")
    first, *others = words
    try:
        task = session.find_task(first)
    except TaskNotFoundError:
        if not _IN_QUERIES & {*first}:
            raise
        return _Asked("", None, " ".join(words))
    return _Asked(first, task, " ".join(others))


async def _show(session: Session, asked: _Asked, count: int) -> None:
    tasklog, task = session.tasklog, asked.task
    records: list[TaskRecord] = []
    complete = True
    if task is None or task.where is not None:
        where = task.where if task is not None else None
        found = await asyncio.to_thread(
            tasklog.query,
            asked.query,
            where=where,
            limit=None,
            timeout_seconds=SEARCH_SECONDS,
        )
        records, complete = found, found.complete
    shown = records[:count][::-1]
    await session.write(_lines(shown, session.width))
    kept = (await asyncio.to_thread(tasklog.stats)).kept
    hint = f"; {task.hint}" if task is not None and task.hint else ""
    await session.say(
        f"-- {len(shown)} of {len(records)} records{asked}, {kept} in the ring{hint}",
        complete=complete,
    )


async def _follow(session: Session, asked: _Asked, count: int) -> None:
    await session.say(f"-- records{asked}; any key ends it")
    where = await _where(session, asked)
    following = await asyncio.to_thread(
        session.tasklog.follow, asked.query, where=where, backlog_records=count
    )
    missed = 0
    async with following as follower:
        while records := await follower.take(FOLLOWED_RECORDS):
            if follower.missed > missed:
                left_out = count_of(follower.missed - missed)
                missed = follower.missed
                await session.say(f"-- {left_out} left out: they come too fast")
            await session.write(_lines(records, session.width))
            await asyncio.sleep(PAUSE_SECONDS)
    await session.say("-- the log was closed")


async def _where(session: Session, asked: _Asked) -> Expression | None:
    """Return which records are to be followed, once TASK has any."""
    task = asked.task
    while task is not None and task.where is None:
        await asyncio.sleep(LOOK_SECONDS)
        task = await asyncio.to_thread(session.find_task, asked.word)
    return None if task is None else task.where


def _lines(records: Iterable[TaskRecord], width: int) -> Iterator[str]:
    now = datetime.datetime.now(datetime.UTC).astimezone()
    return chain.from_iterable(
        record_lines(each, width=width, now=now) for each in records
    )
