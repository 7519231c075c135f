"""What records say of each asyncio task: how many there are, the worst, the newest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, WHO, Origin, Who
from otel_tasklog.live._slices import in_slices

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

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
) -> Mapping[int, Said]:
    """Return what all parts say together of each task, by their numbers.

    Args:
        parts: Records, and their tallies.
        wanted: The numbers of the tasks that are asked for; None for all.
    """
    numbers = None if wanted is None else frozenset(wanted)
    sums = _Sums()
    for records, tallies in in_slices(parts):
        for number in tallies if numbers is None else numbers.intersection(tallies):
            count, worst_at, last_at = tallies[number]
            sums.add(number, count, records[worst_at], records[last_at])
    return sums


class _Sums(Mapping[int, "Said"]):
    """What is known of each task, in few objects: the garbage collector looks at all.

    Each value is made when it is asked for.
    """

    def __init__(self) -> None:
        self._counts: dict[int, int] = {}
        self._worst: dict[int, Sealed] = {}
        self._last: dict[int, Sealed] = {}

    def add(self, number: int, count: int, worst: Sealed, last: Sealed) -> None:
        """Add so many records of a task, one of the highest level and the last."""
        known = self._counts.get(number)
        if known is None:
            self._counts[number] = count
            self._worst[number] = worst
            self._last[number] = last
            return
        self._counts[number] = known + count
        if worst[ORIGIN][_LEVEL] > self._worst[number][ORIGIN][_LEVEL]:
            self._worst[number] = worst
        if last[SEQUENCE] >= self._last[number][SEQUENCE]:
            self._last[number] = last

    def __getitem__(self, number: int) -> Said:
        return self._counts[number], self._worst[number], self._last[number]

    def __contains__(self, number: object) -> bool:
        return number in self._counts

    def __iter__(self) -> Iterator[int]:
        return iter(self._counts)

    def __len__(self) -> int:
        return len(self._counts)
