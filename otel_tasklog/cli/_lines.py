"""Lines of a terminal, which no text of a record can start."""

from __future__ import annotations

import itertools
import sys
from typing import TYPE_CHECKING, Final

from rich.text import Text  # noqa: TID253 - see _commands

from otel_tasklog._text import CONTINUED, continued, fold

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["print_continued", "print_record"]

_NARROWEST: Final = 20


def print_record(console: Console, line: Text) -> None:
    """Print a record's printable line; if a terminal would wrap it, fold it instead."""
    width = _width(console)
    pieces = fold(line.plain, width, width - len(CONTINUED))
    *ends, _ = itertools.accumulate(map(len, pieces))
    folded = Text(f"\n{CONTINUED}").join(line.divide(ends))
    console.print(folded, soft_wrap=True)


def print_continued(console: Console, text: str) -> None:
    """Print further lines of a record: any text, of any lines."""
    lines = "\n".join(continued(text, _width(console)))
    console.print(Text(lines, "dim"), soft_wrap=True)


def _width(console: Console) -> int:
    # A pipe or a file wraps nothing.
    return max(console.width, _NARROWEST) if console.is_terminal else sys.maxsize
