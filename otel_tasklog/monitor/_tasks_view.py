"""The live tasks and what each last said, as lines of text.

Pure functions over values, so that another front end than telnet can use them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, NamedTuple

from otel_tasklog._text import CONTINUED, cut, narrowed, visible, width_of
from otel_tasklog._waits import all_tasks, wait_of
from otel_tasklog.capture._tasks import known_cell

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable, Sequence

    from otel_tasklog.capture._record import TaskRecord

__all__ = ["LiveTask", "Row", "live_tasks", "table", "task_rows"]

NARROWEST: Final = 40
"""A terminal that says it is narrower is taken for one of this width."""

WIDEST_TEXT: Final = 24
NARROWEST_TEXT: Final = 6
LAST_MIN: Final = 30
"""With less room than this the last message gets a line of its own."""

_HEADER: Final = (
    "#", "parent", "name", "task_id", "coroutine", "waits on", "records", "worst",
)  # fmt: skip
_NUMBERS: Final = frozenset({"#", "parent", "records"})
_TEXTS: Final = tuple(map(_HEADER.index, ("name", "task_id", "coroutine", "waits on")))
_GAP: Final = "  "


class LiveTask(NamedTuple):
    """One live asyncio task.

    Attributes:
        number: Ours, or None as long as it has neither logged nor opened a scope.
        parent: The number of its nearest ancestor that had one.
        name: Its name.
        coroutine: The name of its coroutine.
        address: ``id(task)``, which aiomonitor's ``ps`` prints as Task ID.
        waits_on: What it waits on, as text, or None if that was not asked for or
            cannot be told.
    """

    number: int | None
    parent: int | None
    name: str
    coroutine: str
    address: int
    waits_on: str | None


class Row(NamedTuple):
    """A live task, and what its records in the ring say.

    Attributes:
        task: The task.
        task_id: The job that its newest record belongs to.
        records: How many of its records are kept.
        worst: The name of the highest level among them.
        last: The newest.
    """

    task: LiveTask
    task_id: str | None
    records: int
    worst: str | None
    last: TaskRecord | None


def live_tasks(
    loop: asyncio.AbstractEventLoop, clean: Callable[[str], str], *, waits: int = 0
) -> list[LiveTask]:
    """Return the live tasks of a loop, by number. From any thread.

    Numbers are looked up and never drawn: a task draws its own, in its own context,
    when it first logs.

    Args:
        loop: The loop.
        clean: Makes of a task's name what its records have.
        waits: Of how many, the first ones, it is to be told what they wait on.
    """
    found = [(_describe(task, clean), task) for task in all_tasks(loop) or ()]
    found.sort(key=lambda each: _place(each[0]))
    return [
        live if place >= waits else live._replace(waits_on=_wait(task, clean))
        for place, (live, task) in enumerate(found)
    ]


def _place(task: LiveTask) -> tuple[bool, int, str]:
    return task.number is None, task.number or 0, task.name


def _wait(task: asyncio.Task[Any], clean: Callable[[str], str]) -> str | None:
    wait = wait_of(task, clean)
    return wait.text if wait is not None else None


def _describe(task: asyncio.Task[Any], clean: Callable[[str], str]) -> LiveTask:
    cell = known_cell(task)
    coroutine = task.get_coro()
    name = getattr(coroutine, "__qualname__", None) or type(coroutine).__qualname__
    return LiveTask(
        number=cell.number if cell is not None else None,
        parent=cell.parent if cell is not None else None,
        name=clean(task.get_name()),
        coroutine=name,
        address=id(task),
        waits_on=None,
    )


def task_rows(
    live: Sequence[LiveTask], newest_first: Iterable[TaskRecord]
) -> list[Row]:
    """Return a row per live task, in their order.

    Args:
        live: The tasks.
        newest_first: The records of the ring, those of other tasks among them.
    """
    wanted = {task.number for task in live if task.number is not None}
    own: dict[int, list[TaskRecord]] = {}
    for record in newest_first:
        number = record.asyncio_task_number
        if number is not None and number in wanted:
            own.setdefault(number, []).append(record)
    return [_row(task, own.get(task.number or 0, [])) for task in live]


def _row(task: LiveTask, records: list[TaskRecord]) -> Row:
    if not records:
        return Row(task, None, 0, None, None)
    worst = max(records, key=lambda record: record.level)
    return Row(task, records[0].task_id, len(records), worst.severity_text, records[0])


def table(rows: Sequence[Row], *, width: int, now_ns: int) -> list[str]:
    """Return the rows as lines, at most *width* cells wide.

    Args:
        rows: The rows.
        width: The terminal's. Without room for it beside the other columns, the
            last message has a line of its own.
        now_ns: What ages count from.
    """
    width = max(width, NARROWEST)
    cells = [_HEADER, *map(_cells, rows)]
    widths = _fit(cells, width)
    last = ["last", *(_last(row, now_ns) for row in rows)]
    room = width - sum(widths) - len(_GAP) * len(widths)
    lines: list[str] = []
    for row, said in zip(cells, last, strict=True):
        line = _GAP.join(map(_pad, row, widths, _HEADER))
        if room >= LAST_MIN:
            lines.append(f"{line}{_GAP}{cut(said, room)}".rstrip())
        else:
            lines.append(cut(line.rstrip(), width))
            if said:
                lines.append(CONTINUED + cut(said, width - len(CONTINUED)))
    return lines


def _cells(row: Row) -> tuple[str, ...]:
    task = row.task
    return (
        _or_dash(task.number),
        _or_dash(task.parent),
        visible(task.name),
        _or_dash(row.task_id),
        visible(task.coroutine),
        _or_dash(task.waits_on),
        str(row.records),
        _or_dash(row.worst),
    )


def _or_dash(value: object) -> str:
    return "-" if value is None else visible(str(value))


def _last(row: Row, now_ns: int) -> str:
    if row.last is None:
        return ""
    age = _age(max(now_ns - row.last.timestamp_ns, 0) / 1e9)
    return f"{age} ago: {visible(row.last.message)}"


def _age(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3_600), ("m", 60)):
        if seconds >= size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds:.1f}s"


def _fit(cells: Sequence[tuple[str, ...]], width: int) -> list[int]:
    """Return the columns' widths: the widest text gives way until the line fits."""
    widths = [max(map(width_of, column)) for column in zip(*cells, strict=True)]
    for column in _TEXTS:
        widths[column] = min(widths[column], WIDEST_TEXT)
    excess = sum(widths) + len(_GAP) * (len(widths) - 1) - width
    return narrowed(widths, excess, _TEXTS, NARROWEST_TEXT)


def _pad(text: str, width: int, column: str) -> str:
    text = cut(text, width)
    padding = " " * (width - width_of(text))
    return padding + text if column in _NUMBERS else text + padding
