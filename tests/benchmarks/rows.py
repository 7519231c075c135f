"""The table: one row for each comparison, with the bar it is held to."""

from __future__ import annotations

import dataclasses
import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["Result", "Row", "number", "rows_table", "summary", "table"]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Row:
    """One comparison.

    Attributes:
        what: What was measured.
        peer: Against whom.
        unit: Of both numbers.
        ours: Our number.
        theirs: The peer's.
        bar: The ratio that must hold; None for a row that only informs.
        stretch: The ratio that is aimed for.
        more: More is better, as for records a second.
        share: The ratio is ours by the peer's, as for memory, and the bar a maximum.
    """

    what: str
    peer: str
    unit: str
    ours: float
    theirs: float
    bar: float | None = None
    stretch: float | None = None
    more: bool = False
    share: bool = False

    @property
    def ratio(self) -> float:
        """How many times better we are; for a share, what part ours is.

        Infinite if ours adds nothing that was measurable, no number if nobody does.
        """
        if self.share:
            return self.ours / self.theirs
        better, worse = (
            (self.ours, self.theirs) if self.more else (self.theirs, self.ours)
        )
        if worse > 0:
            return better / worse
        return math.inf if better > 0 else math.nan

    @property
    def verdict(self) -> str:
        """Whether the bar is met, or even the stretch."""
        if self.bar is None or self.stretch is None:
            return "-"
        for name, limit in (("stretch", self.stretch), ("yes", self.bar)):
            if self.ratio <= limit if self.share else self.ratio >= limit:
                return name
        return "NO"

    def cells(self) -> tuple[str, ...]:
        """Return what the table shows of it."""
        bar = "-" if self.bar is None else f"{self.bar:g} x ({self.stretch:g} x)"
        ratio = f"{self.ratio:.{self._digits}f} x" if math.isfinite(self.ratio) else "-"
        return (
            self.what, self.peer, f"{number(self.ours)} {self.unit}",
            f"{number(self.theirs)} {self.unit}", ratio, bar, self.verdict,
        )  # fmt: skip

    @property
    def _digits(self) -> int:
        return 2 if self.share else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What one script found out.

    Attributes:
        rows: For the table.
        detail: Markdown blocks to show beside it, such as a breakdown.
    """

    rows: list[Row]
    detail: list[str] = dataclasses.field(default_factory=list)


def number(value: float) -> str:
    """Return a measured number with the digits that mean something."""
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def table(head: Sequence[str], lines: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    widths = [max(map(len, column)) for column in zip(head, *lines, strict=True)]
    padded = [
        " | ".join(c.ljust(w) for c, w in zip(line, widths, strict=True))
        for line in (head, *lines)
    ]
    padded.insert(1, "-|-".join("-" * width for width in widths))
    return "\n".join(
        f"|-{line}-|" if place == 1 else f"| {line} |"
        for place, line in enumerate(padded)
    )


def rows_table(rows: Sequence[Row]) -> str:
    """Return the rows as a Markdown table."""
    head = ("what", "peer", "ours", "peer's", "ratio", "bar (stretch)", "met")
    return table(head, [row.cells() for row in rows])


def summary(rows: Sequence[Row]) -> str:
    """Say how many bars are met, and which are not."""
    held = [row for row in rows if row.verdict != "-"]
    missed = [f"{row.what} ({row.ratio:.2g} x)" for row in held if row.verdict == "NO"]
    start = f"{len(held) - len(missed)} of {len(held)} bars are met"
    return f"{start}; not met: {', '.join(missed)}." if missed else f"{start}."
