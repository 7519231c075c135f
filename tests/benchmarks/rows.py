"""The table: one row for each comparison, with the bar it is held to."""

from __future__ import annotations

import dataclasses
import math
import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Final

__all__ = ["Result", "Row", "print_result", "print_table", "print_versions"]

PACKAGES: Final = (
    "opentelemetry-sdk",
    "opentelemetry-instrumentation-logging",
    "opentelemetry-exporter-otlp-proto-http",
    "protobuf",
    "urllib3",
    "requests",
    "asyncz",
)


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
        """How many times better we are; for a share, what part ours is."""
        if self.share:
            return self.ours / self.theirs
        better, worse = (
            (self.ours, self.theirs) if self.more else (self.theirs, self.ours)
        )
        return better / worse if worse > 0 else math.inf

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
        ratio = "-" if math.isinf(self.ratio) else f"{self.ratio:.{self._digits}f} x"
        return (
            self.what, self.peer, f"{_number(self.ours)} {self.unit}",
            f"{_number(self.theirs)} {self.unit}", ratio, bar, self.verdict,
        )  # fmt: skip

    @property
    def _digits(self) -> int:
        return 2 if self.share else 1


@dataclasses.dataclass(frozen=True, kw_only=True)
class Result:
    """What one script found out.

    Attributes:
        rows: For the table.
        notes: What the peers do that we do not, and the other way round.
        detail: More lines to print, such as a breakdown.
    """

    rows: list[Row]
    notes: list[str] = dataclasses.field(default_factory=list)
    detail: list[str] = dataclasses.field(default_factory=list)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1_000 else f"{value:.3g}"


def print_table(rows: list[Row]) -> None:
    """Print the rows as a Markdown table."""
    head = ("what", "peer", "ours", "peer's", "ratio", "bar (stretch)", "met")
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    for number, line in enumerate(lines):
        cells = (c.ljust(w) for c, w in zip(line, widths, strict=True))
        print(f"| {' | '.join(cells)} |")
        if number == 0:
            print(f"|{'|'.join('-' * (w + 2) for w in widths)}|")


def print_result(result: Result) -> None:
    """Print the rows of one script, and what it has to say beside them."""
    print_table(result.rows)
    for line in (*result.detail, *result.notes):
        print(line)
    print(flush=True)


def print_versions() -> None:
    """Print what ran on what."""
    found = []
    for name in PACKAGES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"{name} missing")
    cores = len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count()
    print(
        f"{platform.python_implementation()} {platform.python_version()}, "
        f"{cores} cores, {platform.system()}; {', '.join(found)}",
        flush=True,
    )
