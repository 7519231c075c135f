"""A tree of live tasks as lines of text, for a terminal of some width."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from otel_tasklog._text import cut, visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from otel_tasklog.live._tree import Again, TaskPlace

__all__ = ["tree_lines"]

_NOTES: Final[dict[Again | None, str]] = {
    None: "", "cycle": " (cycle)", "above": " (see above)"
}  # fmt: skip
_STEP: Final = 2
_MOST_INDENT: Final = 3
"""One third of the width at most: below that, the depth is a number."""


def tree_lines(places: Iterable[TaskPlace], *, width: int) -> Iterator[str]:
    """Yield a line for each place of a tree, indented by how deep it is.

    Args:
        places: What `TaskLog.task_tree` returns: each followed by those below it.
        width: The terminal's, in cells; no line is wider.
    """
    deepest = max(width // _MOST_INDENT // _STEP, 1)
    for place in places:
        yield cut(f"{_indent(place.depth, deepest)}{_line(place)}", width)


def _indent(depth: int, deepest: int) -> str:
    if depth == 0:
        return ""
    shown = min(depth, deepest)
    number = str(depth) if depth > deepest else ""
    return " " * (_STEP * (shown - 1)) + f"└{number} "


def _line(place: TaskPlace) -> str:
    number = "-" if place.number is None else f"#{place.number}"
    note = _NOTES[place.again]
    waits = "" if place.wait is None else f": {visible(place.wait.text)}"
    coroutine = visible(place.coroutine)
    return f"{number} {visible(place.name)}{note} ({coroutine}){waits}"
