"""What records say of each asyncio task: how many there are, the worst, the newest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeAlias

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, WHO, Origin, Who
from otel_tasklog.live._slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.live._tasks import Said

__all__ = ["Tally", "add_up", "tallied", "tally"]

_LEVEL: Final = Origin._fields.index("level")
_NUMBER: Final = Who._fields.index("number")

Tally: TypeAlias = tuple[int, int, int]
"""Of one task: how many of some records are its own, and where among them are one of
the highest level and the last. It refers to none of them."""


def tally(records: Sequence[Sealed]) -> dict[int, Tally]:
    """Return what some records say, by the tasks' numbers."""
    tallies: dict[int, Tally] = {}
    for at, record in enumerate(records):
        number = record[WHO][_NUMBER]
        if number is None:
            continue
        known = tallies.get(number)
        if known is None:
            tallies[number] = 1, at, at
            continue
        count, worst, _ = known
        if record[ORIGIN][_LEVEL] > records[worst][ORIGIN][_LEVEL]:
            worst = at
        tallies[number] = count + 1, worst, at
    return tallies


def tallied(
    parts: Iterable[Sequence[Sealed]],
) -> Iterator[tuple[Sequence[Sealed], Mapping[int, Tally]]]:
    """Yield records, in parts, and what each part says."""
    for part in parts:
        yield part, tally(part)


def add_up(
    parts: Iterable[tuple[Sequence[Sealed], Mapping[int, Tally]]],
    wanted: Iterable[int] | None = None,
) -> dict[int, Said]:
    """Return what all parts say together of each task, by their numbers.

    Args:
        parts: Records, and their tallies.
        wanted: The numbers of the tasks that are asked for; None for all.
    """
    numbers = None if wanted is None else frozenset(wanted)
    sums: dict[int, Said] = {}
    for records, tallies in in_slices(parts):
        for number in tallies if numbers is None else numbers.intersection(tallies):
            count, worst_at, last_at = tallies[number]
            worst, last = records[worst_at], records[last_at]
            known = sums.get(number)
            if known is not None:
                count += known[0]
                if known[1][ORIGIN][_LEVEL] >= worst[ORIGIN][_LEVEL]:
                    worst = known[1]
                if known[2][SEQUENCE] > last[SEQUENCE]:
                    last = known[2]
            sums[number] = count, worst, last
    return sums
