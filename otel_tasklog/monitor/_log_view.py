"""One task's log: which records TASK means, and their lines.

Pure functions over values, so that another front end than telnet can use them.
"""

from __future__ import annotations

from itertools import chain, islice
from typing import TYPE_CHECKING, Final, NamedTuple, Protocol

from otel_tasklog._text import CONTINUED, continued, fold, visible

if TYPE_CHECKING:
    import datetime
    from collections.abc import Iterator, Sequence

    from otel_tasklog.capture._record import TaskRecord
    from otel_tasklog.monitor._tasks_view import LiveTask

__all__ = ["Found", "NotFound", "Queryable", "find", "log_lines"]

RECORD_LINES: Final = 60
"""At most so many lines of one record; a longer one says how much is left out."""

LOWEST_ADDRESS: Final = 1 << 24
"""Digits at or above this can be an ``id(task)``; our numbers start at 1."""

_LONGEST_NUMBER: Final = 20


class Queryable(Protocol):
    """What is asked of a TaskLog."""

    def query(
        self, *, task_id: object = ..., asyncio_task: int | None = ...,
        limit: int | None = ...,
    ) -> list[TaskRecord]:  # fmt: skip
        """Return records."""
        ...


class Found(NamedTuple):
    """What TASK means.

    Attributes:
        what: A phrase for it, such as ``job order-1`` or ``task #4 worker-1``.
        newest_first: All of its records that are kept.
        hint: What else it could have meant, or the empty text.
    """

    what: str
    newest_first: Sequence[TaskRecord]
    hint: str = ""


class NotFound(NamedTuple):
    """TASK means nothing.

    Attributes:
        why: A sentence with what was tried and what to do.
    """

    why: str


def find(wanted: str, live: Sequence[LiveTask], tasklog: Queryable) -> Found | NotFound:
    """Return what *wanted* means.

    The application's own names come first, for ``#4`` always means the number: a
    job's id, a task's name, then the Task ID of ``ps``, then a number without its
    ``#``. A Task ID counts only while its task is alive. It is a memory address,
    which the next task is likely to get.
    """
    if wanted.startswith("#"):
        return _by_number(_number(wanted[1:]), live, tasklog) or _unknown(wanted)
    number = _number(wanted)
    named = _by_job(wanted, tasklog) or _by_name(wanted, live, tasklog)
    if named is not None:
        if _by_number(number, live, tasklog) is not None:
            return named._replace(hint=f"; the task of that number: logs #{number}")
        return named
    for task in live:
        if task.address == number:
            return _of_task(task, tasklog)
    return _by_number(number, live, tasklog) or _unknown(wanted)


def _number(text: str) -> int | None:
    if text.isascii() and text.isdigit() and len(text) <= _LONGEST_NUMBER:
        return int(text)
    return None


def _by_job(task_id: str, tasklog: Queryable) -> Found | None:
    records = tasklog.query(task_id=task_id, limit=None)
    return Found(f"job {visible(task_id)}", records) if records else None


def _by_name(name: str, live: Sequence[LiveTask], tasklog: Queryable) -> Found | None:
    alive = [task for task in live if task.name == name]
    # A task may have been renamed since it logged.
    numbers = {task.number for task in alive} - {None}
    records = [
        record
        for record in tasklog.query(limit=None)
        if (who := record.who).name == name or who.number in numbers
    ]
    if not records:
        return _of_task(alive[0], tasklog) if alive else None
    return Found(f"task {visible(name)}", records)


def _by_number(
    number: int | None, live: Sequence[LiveTask], tasklog: Queryable
) -> Found | None:
    if number is None:
        return None
    for task in live:
        if task.number == number:
            return _of_task(task, tasklog)
    records = tasklog.query(asyncio_task=number, limit=None)
    if not records:
        return None
    return Found(f"task {_who(records[0])}, which has ended", records)


def _of_task(task: LiveTask, tasklog: Queryable) -> Found:
    if task.number is None:
        return Found(f"task {visible(task.name)}, which has not logged", [])
    records = tasklog.query(asyncio_task=task.number, limit=None)
    return Found(f"task #{task.number} {visible(task.name)}", records)


def _unknown(wanted: str) -> NotFound:
    shown = visible(wanted)
    number = _number(wanted)
    if number is not None and number >= LOWEST_ADDRESS:
        return NotFound(
            f"No live task has the Task ID {shown}: its task has ended, and another "
            "may get the same ID. Ask by job, name or #number; see 'tasks'."
        )
    if wanted.startswith("#"):
        return NotFound(
            f"No live task and no kept record has the number {shown}; see 'tasks'."
        )
    return NotFound(
        f"Nothing is called {shown}: tried jobs and task names of kept records, and "
        "names, numbers and Task IDs of live tasks; see 'tasks'."
    )


def log_lines(
    found: Found, *, count: int, kept: int, width: int, now: datetime.datetime
) -> list[str]:
    """Return the newest *count* records as lines, the oldest first, and a summary.

    Args:
        found: Whose.
        count: How many at most.
        kept: How many records the ring holds in all.
        width: The terminal's, in cells. No line is wider, so that the terminal
            wraps none: a wrapped line could pass for a record.
        now: In the time zone to show. Records of another day show their date.
    """
    shown = list(reversed(found.newest_first[:count]))
    lines = [line for record in shown for line in _record_lines(record, width, now)]
    summary = (
        f"-- {len(shown)} of {len(found.newest_first)} records of {found.what}, "
        f"{kept} in the ring{found.hint}"
    )
    return lines + _folded(summary, width)


def _record_lines(
    record: TaskRecord, width: int, now: datetime.datetime
) -> Iterator[str]:
    first, *more = record.message.replace("\r\n", "\n").split("\n")
    head = (
        f"{_clock(record, now)} {visible(record.severity_text)} {_who(record)} "
        f"{visible(record.logger)}: {visible(first.expandtabs(4))}"
    )
    lines: Iterator[str] = iter(_folded(head, width))
    for text in ("\n".join(more), record.exception_stacktrace, record.stack_info):
        if text:
            lines = chain(lines, continued(text.removesuffix("\n"), width))
    yield from islice(lines, RECORD_LINES)
    left_out = sum(1 for _ in lines)
    if left_out:
        yield f"{CONTINUED}({left_out} more lines)"


def _folded(line: str, width: int) -> list[str]:
    first, *others = fold(line, width, width - len(CONTINUED))
    return [first, *(CONTINUED + other for other in others)]


def _clock(record: TaskRecord, now: datetime.datetime) -> str:
    local = record.time.astimezone(now.tzinfo)
    date = "" if local.date() == now.date() else f"{local:%m-%d} "
    return f"{date}{local:%H:%M:%S}.{local.microsecond // 1000:03}"


def _who(record: TaskRecord) -> str:
    who = record.who
    if who.number is None:
        return "-"
    return f"#{who.number} {visible(who.name or '')}".rstrip()
