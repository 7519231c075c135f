"""Looking for records: part by part, and no longer than the caller waits."""

from __future__ import annotations

from asyncio import _get_running_loop  # pyright: ignore[reportPrivateUsage]
from bisect import bisect_left, bisect_right
from time import monotonic, perf_counter, sleep
from typing import TYPE_CHECKING, Final, TypeVar

from otel_tasklog._errors import ConfigError
from otel_tasklog.capture._record import SEQUENCE, Sealed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from otel_tasklog.store._chunks import Pile

__all__ = ["Found", "Search", "check_count", "neighbours"]

T = TypeVar("T")

HOLD_SECONDS: Final = 0.0002
"""After so long a thread without an event loop lets those that have one run,"""

BREATH_SECONDS: Final = 1e-6
"""by a sleep that is as short as can be; one of 0 need not be any."""


class Found(list[T]):
    """What was found, as a list, and whether that is all.

    Args:
        found: What was found.
        complete: See below.

    Attributes:
        complete: False if the time was up before all of memory had been looked at:
            what is here is right, and there may be more.
    """

    def __init__(self, found: Iterable[T] = (), *, complete: bool = True) -> None:
        super().__init__(found)
        self.complete = complete


class Search:
    """One look for the records that pass some tests; iterate it once.

    It lets go of the interpreter now and then, where that is of use.

    Args:
        parts: The records, in parts, each made when it is asked for.
        tests: What a record must pass, cheapest first.
        timeout_seconds: No part is begun later than this.

    Attributes:
        complete: Whether it was not cut short by the time.

    Raises:
        ConfigError: The time is no number above 0.
    """

    def __init__(
        self,
        parts: Iterable[Sequence[Sealed]],
        tests: Sequence[Callable[[Sealed], bool]],
        timeout_seconds: float,
    ) -> None:
        if not _is_above_0(timeout_seconds):
            raise ConfigError("timeout_seconds", timeout_seconds, "a number above 0")
        self.complete = True
        self._parts = parts
        self._tests = tests
        self._rests = _get_running_loop() is None
        self._began = perf_counter()
        self._ends = monotonic() + timeout_seconds

    def __iter__(self) -> Iterator[Sequence[Sealed]]:
        """Yield what passes of each part."""
        for part in self._parts:
            if monotonic() > self._ends:
                self.complete = False
                return
            self.breathe()
            if part:
                passing: Iterable[Sealed] = part
                for test in self._tests:
                    passing = filter(test, passing)
                yield list(passing)

    def breathe(self) -> None:
        """Let go of the interpreter, if that is of use by now."""
        if self._rests and perf_counter() - self._began > HOLD_SECONDS:
            sleep(BREATH_SECONDS)
            self._began = perf_counter()


def neighbours(
    pile: Pile,
    waiting: Callable[[], Iterable[Sealed]],
    sequence: int,
    before: int,
    after: int,
) -> list[Sealed]:
    """Return the records around a sequence, by sequence.

    Args:
        pile: The records. Threads have drawn their sequence in nearly the order in
            which they stand here; so it is looked one list further on either side.
        waiting: Returns what comes after them, if it is needed.
        sequence: Around which.
        before: How many that are lower.
        after: How many that are higher.
    """
    low = at = max(bisect_right(pile, sequence, key=_first_sequence) - 1, 0)
    enough = 0
    while low and enough < before:
        low -= 1
        enough += len(pile[low])
    high = at + 1
    enough = 0
    while high < len(pile) and enough < after:
        enough += len(pile[high])
        high += 1
    near = pile[max(low - 1, 0) : high + 1]
    found = {record[SEQUENCE]: record for part in near for record in part.copy()}
    if high >= len(pile):
        found |= {record[SEQUENCE]: record for record in waiting()}
    order = sorted(found)
    start = bisect_left(order, sequence) - before
    end = bisect_right(order, sequence) + after
    return [found[each] for each in order[max(start, 0) : end]]


def _first_sequence(records: list[Sealed]) -> int:
    first = records[:1]  # eviction may just have emptied it, the oldest
    return first[0][SEQUENCE] if first else -1


def _is_above_0(value: object) -> bool:
    return isinstance(value, int | float) and value > 0  # and so is no NaN


def check_count(setting: str, value: object, *, least: int) -> None:
    """Refuse what is no number of records.

    Raises:
        ConfigError: It is not whole, or too low.
    """
    if not isinstance(value, int) or value < least:
        raise ConfigError(setting, value, f"a whole number from {least} on")
