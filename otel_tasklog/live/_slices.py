"""Long work in slices, between which other threads run."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

__all__ = ["SLICE_SECONDS", "in_pieces", "in_slices", "rest"]

T = TypeVar("T")

SLICE_SECONDS: Final = 0.001
"""An event loop that wants the interpreter gets it after so long. Python itself takes
it from a thread after five times that, unless the application set another time."""

AT_ONCE: Final = 500
"""So many small steps are one piece, which takes no millisecond."""

REST_SECONDS: Final = 1e-6
"""As short as can be; after one of 0 the same thread may go on."""


def rest() -> None:
    """Let other threads run."""
    time.sleep(REST_SECONDS)


def in_slices(items: Iterable[T]) -> Iterator[T]:
    """Yield items, and let other threads run between two of them when it is time."""
    ends = time.perf_counter() + SLICE_SECONDS
    for item in items:
        yield item
        if time.perf_counter() > ends:
            rest()
            ends = time.perf_counter() + SLICE_SECONDS


def in_pieces(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """Yield items, many at once: for steps so small that the clock would cost more."""
    for at in in_slices(range(0, len(items), AT_ONCE)):
        yield items[at : at + AT_ONCE]
