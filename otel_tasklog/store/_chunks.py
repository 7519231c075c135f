"""Records in short lists: what the ring, and each of its indexes, is made of.

A long list costs its owner at each eviction, for what is left moves up, and others
at each copy, during which the interpreter runs nothing else. So none is longer than
`CHUNK_RECORDS`, however many records there are.

Guarantees: one writer, the worker. Readers copy a list, which is one step of the
interpreter, and look at the copy.
"""

from __future__ import annotations

from array import array
from typing import TYPE_CHECKING, Final, TypeAlias

from otel_tasklog.capture._record import MESSAGE, REST, SEQUENCE, WHO, Rest, Whole
from otel_tasklog.store._tallies import tally

if TYPE_CHECKING:
    from collections import defaultdict
    from collections.abc import Iterable, Iterator

    from otel_tasklog.store._tallies import Tally

__all__ = ["CHUNK_RECORDS", "Chunk", "Pile", "parts_of", "put", "put_by_task", "trim"]

CHUNK_RECORDS: Final = 512

_EXCEPTION_MESSAGE: Final = Rest._fields.index("exception_message")
_STACKTRACE: Final = Rest._fields.index("exception_stacktrace")

Pile: TypeAlias = list[list[Whole]]
"""Some of the ring's records, oldest first, in lists of at most `CHUNK_RECORDS`."""


class Chunk:
    """Consecutive records, their sizes, and the highest level among them."""

    __slots__ = ("_joined", "_span", "_tallies", "highest", "records", "sizes")

    def __init__(self) -> None:
        self.records: list[Whole] = []
        self.sizes = array("q")
        self.highest = 0
        # Found out by readers, of a full chunk; at worst by two of them at once.
        self._joined: str | None = None
        self._span: tuple[int, int] | None = None
        self._tallies: dict[int, Tally] | None = None

    def lacks(self, text: str) -> bool:
        """Return whether surely none of its records has this lower-case text.

        In the message, the exception's message or the stacktrace. From any thread.
        What is joined stays until the chunk goes: a program that is searched pays
        for its texts twice, which the ring's bound in bytes does not count.
        """
        if self._joined is None:
            records = self._all_records()
            if records is None:
                return False
            texts = [record[MESSAGE] for record in records]
            for record in records:
                rest = record[REST]
                texts += filter(None, (rest[_EXCEPTION_MESSAGE], rest[_STACKTRACE]))
            self._joined = "\n".join(texts).lower()
        return text not in self._joined

    def is_outside(self, after: int | None, before: int | None) -> bool:
        """Return whether surely none of its sequences is between. From any thread."""
        if self._span is None:
            records = self._all_records()
            if records is None:
                return False
            self._span = _span_of(records)
        lowest, highest = self._span
        return (after is not None and highest <= after) or (
            before is not None and lowest >= before
        )

    def tallied(
        self, after: int, before: int
    ) -> tuple[list[Whole], dict[int, Tally]] | None:
        """Return its records and what they say of each task. From any thread.

        Returns:
            None if it still grows, or shrinks already, or if one of its sequences is
            not between.
        """
        records = self._all_records()
        if records is None:
            return None
        if self._span is None:
            self._span = _span_of(records)
        lowest, highest = self._span
        if lowest <= after or highest >= before:
            return None
        if self._tallies is None:
            self._tallies = tally(records)
        return records, self._tallies

    def _all_records(self) -> list[Whole] | None:
        """Return its records, or None if it still grows, or shrinks already."""
        records = self.records.copy()
        return records if len(records) == CHUNK_RECORDS else None


def _span_of(records: list[Whole]) -> tuple[int, int]:
    # Threads append in nearly the order of their sequences.
    sequences = [record[SEQUENCE] for record in records]
    return min(sequences), max(sequences)


def put(pile: Pile, records: Iterable[Whole]) -> None:
    """Add records. By the worker alone."""
    for record in records:
        if pile and len(pile[-1]) < CHUNK_RECORDS:
            pile[-1].append(record)
        else:
            pile.append([record])


def put_by_task(piles: defaultdict[str | None, Pile], records: Iterable[Whole]) -> bool:
    """Add records to the piles of their jobs. By the worker alone.

    Returns:
        Whether one of them is of a job that is nested in another.
    """
    nested = False
    for record in records:
        who = record[WHO]
        pile = piles[who[0]]
        if pile and len(pile[-1]) < CHUNK_RECORDS:  # as `put` does, without a call
            pile[-1].append(record)
        else:
            pile.append([record])
        if who[1] is not None:
            nested = True
    return nested


def trim(pile: Pile, count: int) -> None:
    """Drop so many of the oldest. By the worker alone."""
    while pile and count >= len(pile[0]):
        count -= len(pile[0])
        del pile[0]
    if count:
        del pile[0][:count]


def parts_of(pile: Pile, *, newest_first: bool) -> Iterator[list[Whole]]:
    """Yield copies, oldest first within each, one when it is asked for."""
    parts = pile.copy()
    for part in reversed(parts) if newest_first else parts:
        yield part.copy()
