"""Live tasks and what each last said, as lines for a terminal of some width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_tasklog._text import CONTINUED, cut, narrowed, visible, width_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.live._tasks import LiveTask

__all__ = ["task_lines"]

NARROWEST: Final = 40
"""A terminal that says it is narrower is taken for one of this width."""

WIDEST_TEXT: Final = 24
NARROWEST_TEXT: Final = 6
LAST_MIN: Final = 30
"""With less room than this the last message gets a line of its own."""

_HEADER: Final = (
    "#", "parent", "name", "task_id", "coroutine", "waits on", "age", "records",
    "worst",
)  # fmt: skip
_NUMBERS: Final = frozenset({"#", "parent", "age", "records"})
_TEXTS: Final = tuple(map(_HEADER.index, ("name", "task_id", "coroutine", "waits on")))
_GAP: Final = "  "
_MISSING: Final = "-"


def task_lines(tasks: Sequence[LiveTask], *, width: int, now_ns: int) -> list[str]:
    """Return a header, and a line per task or two.

    Args:
        tasks: What `TaskLog.live_tasks` returns.
        width: The terminal's, in cells. Without room for it beside the other columns,
            the last message has a line of its own.
        now_ns: What ages count from.
    """
    width = max(width, NARROWEST)
    cells = [_HEADER, *(_cells(each, now_ns) for each in tasks)]
    widths = _fit(cells, width)
    last = ["last", *(_last(each, now_ns) for each in tasks)]
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


def _cells(task: LiveTask, now_ns: int) -> tuple[str, ...]:
    age = None if task.numbered_ns is None else _age(now_ns - task.numbered_ns)
    return (
        _or_dash(task.number),
        _or_dash(task.parent),
        visible(task.name),
        _or_dash(task.task_id),
        visible(task.coroutine),
        _or_dash(None if task.wait is None else task.wait.text),
        _or_dash(age),
        str(task.records),
        _or_dash(task.worst),
    )


def _or_dash(value: object) -> str:
    return _MISSING if value is None else visible(value)


def _last(task: LiveTask, now_ns: int) -> str:
    if task.last is None:
        return ""
    return f"{_age(now_ns - task.last.timestamp_ns)} ago: {visible(task.last.message)}"


def _age(age_ns: int) -> str:
    seconds = max(age_ns, 0) / 1e9
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
