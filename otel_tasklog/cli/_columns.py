"""Lines in columns, for a terminal and for a pipe alike."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from otel_tasklog._text import width_of

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

__all__ = ["duration", "in_columns"]

_GAP = 2


def in_columns(
    rows: Sequence[Sequence[str]], *, right: Collection[int] = ()
) -> list[str]:
    """Return rows of printable texts as lines, their columns below each other.

    Args:
        rows: As many texts in each.
        right: The columns of numbers, by index: they end below each other.
    """
    widths = [max(map(width_of, column)) for column in zip(*rows, strict=True)]
    return [
        (" " * _GAP)
        .join(
            _padded(text, width, right=index in right)
            for index, (text, width) in enumerate(zip(row, widths, strict=True))
        )
        .rstrip()
        for row in rows
    ]


def _padded(text: str, width: int, *, right: bool) -> str:
    padding = " " * (width - width_of(text))
    return padding + text if right else text + padding


def duration(seconds: float) -> str:
    """Return a span of time, as exact as somebody wants to know it: ``3m12s``."""
    if seconds < 9.95:
        return f"{seconds:.1f}s"
    whole = math.floor(seconds + 0.5)
    for unit, name, lesser, its_name in (
        (86_400, "d", 3_600, "h"),
        (3_600, "h", 60, "m"),
        (60, "m", 1, "s"),
    ):
        if whole >= unit:
            return f"{whole // unit}{name}{whole % unit // lesser:02}{its_name}"
    return f"{whole}s"
