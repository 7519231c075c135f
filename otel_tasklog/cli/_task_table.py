"""What processes say of their jobs, as the lines of a table."""

from __future__ import annotations

import logging
import ntpath
from typing import TYPE_CHECKING, Any, Final, NamedTuple, TypeAlias, cast

from otel_tasklog._text import CONTINUED, cut, narrowed, visible, width_of
from otel_tasklog.cli._columns import duration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["NARROWEST", "ORDERS", "Job", "read_job", "task_lines"]

Line: TypeAlias = "list[tuple[str, str]]"
"""Pieces of text, and the style of each."""

_HEADER: Final = ("PROCESS", "TASK", "PARENT", "WAITS ON", "RECORDS", "WORST", "LAST")
_PROCESS, _TASK, _PARENT, _WAITS, _RECORDS, _WORST, _LAST = range(len(_HEADER))
_GIVING: Final = (_PROCESS, _TASK, _PARENT, _WAITS)

NARROWEST: Final = 44
"""A terminal that says it is narrower is taken for one of this width."""

_WIDEST_TEXT: Final = 36
_NARROWEST_TEXT: Final = 4
_WIDEST_LEVEL: Final = 8
_WIDEST_NUMBER: Final = 9
_LAST_LEAST: Final = 24
"""With less room than this the last message gets a line of its own."""

_GAP: Final = "  "
_MISSING: Final = "-"
_DIGITS: Final = 20
"""Of a time in nanoseconds, at most."""

_LEVELS: Final = logging.getLevelNamesMapping()
_STYLES: Final = (
    (logging.CRITICAL, "bold red"),
    (logging.ERROR, "red"),
    (logging.WARNING, "yellow"),
)


class Job(NamedTuple):
    """One job of one process.

    Attributes:
        process: The name of its process.
        task_id: Its id.
        parent_id: The id of the job around it, or None.
        waits_on: What it waits on, or None.
        alive: Whether it still runs, or None if that is not known.
        records: How many there are.
        worst: The name of the highest level.
        rank: That level's number, or of a level that only its program knows, the
            next lower one's.
        last_ns: When it last logged, since the epoch.
        last_message: What.
    """

    process: str
    task_id: str
    parent_id: str | None
    waits_on: str | None
    alive: bool | None
    records: int
    worst: str
    rank: int
    last_ns: int
    last_message: str


ORDERS: Final[Mapping[str, Callable[[Job], Any]]] = {
    "last": lambda job: -job.last_ns,
    "records": lambda job: (-job.records, -job.last_ns),
    "worst": lambda job: (-job.rank, -job.last_ns),
    "task": lambda job: (job.task_id, job.process),
}
"""What comes first."""


def read_job(process: str, answer: object) -> Job:
    """Return a job as the API has it.

    Args:
        process: The name of its process.
        answer: Its JSON.

    Raises:
        ValueError: It is none.
    """
    fields = cast("dict[str, Any]", answer)
    match fields:
        case {
            "task_id": str(task_id),
            "task_parent_id": str() | None as parent_id,
            "alive": bool() | None as alive,
            "records": int(records),
            "worst_level": str(worst),
            "levels": dict(),
            "last_ns": str(last_ns),
            "last_message": str(last_message),
            "waits_on": wait,
        } if len(last_ns) <= _DIGITS:
            names: list[str] = [*fields["levels"]]  # the highest first
            return Job(
                process=process,
                task_id=task_id,
                parent_id=parent_id,
                waits_on=_wait(wait),
                alive=alive,
                records=records,
                worst=worst,
                rank=next((_LEVELS[each] for each in names if each in _LEVELS), 0),
                last_ns=int(last_ns),
                last_message=last_message,
            )
        case _:
            raise ValueError(answer)


def _wait(answer: object) -> str | None:
    match answer:
        case None:
            return None
        case {"text": str(text), "path": str(path), "line": int(line)}:
            return f"{text} {ntpath.basename(path)}:{line}"  # either kind of path
        case {"text": str(text)}:
            return text
        case _:
            raise ValueError(answer)


def task_lines(
    jobs: Sequence[Job], *, several: bool, now_ns: int, width: int | None
) -> list[Line]:
    """Return a table, its header first. Each piece is printable.

    Args:
        jobs: Its rows.
        several: Whether each says which process it is of.
        now_ns: What ages count from, since the epoch.
        width: The terminal's. Without room for it beside the others, the last column
            has lines of its own. None for a pipe, where nothing is cut.
    """
    columns = range(_PROCESS if several else _TASK, _LAST)
    rows = [_HEADER, *(_cells(job, now_ns) for job in jobs)]
    styles = [dict.fromkeys(columns, "bold"), *({_WORST: _style(job)} for job in jobs)]
    widths = [max(map(width_of, cells)) for cells in zip(*rows, strict=True)]
    room = None
    if width is not None:
        width = max(width, NARROWEST)
        widths = _fitted(widths, columns, width)
        room = width - sum(widths[each] + len(_GAP) for each in columns)
    lines: list[Line] = []
    for row, style in zip(rows, styles, strict=True):
        line = [
            (_padded(row[each], widths[each], each) + _GAP, style.get(each, ""))
            for each in columns
        ]
        if width is None or room is None:
            lines.append([*line, (row[_LAST], "")])
        elif room >= _LAST_LEAST:
            lines.append([*line, (cut(row[_LAST], room), style.get(_TASK, ""))])
        else:
            below = CONTINUED + cut(row[_LAST], width - len(CONTINUED))
            lines += [line, [(below, "dim")]]
    return lines


def _cells(job: Job, now_ns: int) -> tuple[str, ...]:
    waits_on = "done" if job.alive is False else _MISSING
    age = duration(max(now_ns - job.last_ns, 0) / 1e9)
    return (
        visible(job.process),
        visible(job.task_id),
        _MISSING if job.parent_id is None else visible(job.parent_id),
        waits_on if job.waits_on is None else visible(job.waits_on),
        cut(str(job.records), _WIDEST_NUMBER),
        cut(visible(job.worst), _WIDEST_LEVEL),
        f"{age} ago: {visible(job.last_message)}",
    )


def _style(job: Job) -> str:
    return next((style for least, style in _STYLES if job.rank >= least), "")


def _fitted(widths: Sequence[int], columns: Sequence[int], width: int) -> list[int]:
    limited = [
        min(each, _WIDEST_TEXT) if column in _GIVING else each
        for column, each in enumerate(widths)
    ]
    used = sum(limited[each] for each in columns) + len(_GAP) * (len(columns) - 1)
    giving = [each for each in _GIVING if each in columns]
    return narrowed(limited, used - width, giving, _NARROWEST_TEXT)


def _padded(text: str, width: int, column: int) -> str:
    text = cut(text, width)
    padding = " " * (width - width_of(text))
    return padding + text if column == _RECORDS else text + padding
