"""What the records say of each asyncio task, added up from parts."""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st
from rings import fill, make_ring, sealed

from otel_tasklog.capture._record import ORIGIN, SEQUENCE, WHO
from otel_tasklog.store._chunks import CHUNK_RECORDS
from otel_tasklog.store._tallies import add_up

if TYPE_CHECKING:
    from collections.abc import Sequence

    from otel_tasklog.capture._record import Sealed
    from otel_tasklog.store._memory import Ring

LEVELS = (10, 20, 30, 40)


def made(count: int, start: int = 0) -> list[Sealed]:
    """Return records of a few tasks, and of none, at all levels."""
    return [
        sealed(
            number,
            asyncio_task=number * 7 % 5 or None,
            level=LEVELS[number * 13 // 3 % 4],
        )
        for number in range(start, start + count)
    ]


def expected(records: Sequence[Sealed]) -> dict[int, tuple[int, int, Sealed]]:
    """Return what all records say: count, highest level, newest."""
    own: defaultdict[int, list[Sealed]] = defaultdict(list)
    for record in records:
        if record[WHO][2] is not None:
            own[record[WHO][2]].append(record)
    return {
        number: (
            len(theirs),
            max(each[ORIGIN][1] for each in theirs),
            max(theirs, key=lambda each: each[SEQUENCE]),
        )
        for number, theirs in own.items()
    }


def told(ring: Ring) -> dict[int, tuple[int, int, Sealed]]:
    said = add_up(ring.tallied())
    return {
        n: (count, worst[ORIGIN][1], last) for n, (count, worst, last) in said.items()
    }


@given(
    st.integers(0, 3 * CHUNK_RECORDS),
    st.integers(1, 3 * CHUNK_RECORDS),
    st.integers(0, CHUNK_RECORDS),
)
def test_a_ring_says_of_each_task_what_its_records_do(
    kept: int, most: int, waiting: int
) -> None:
    """Whatever has been evicted, and whatever waits to be finished."""
    both = made(kept + waiting)
    ring = make_ring(records=most, waiting=both[kept:])
    fill(ring, both[:kept])
    for _ in range(2):  # what is known of a chunk, too
        assert told(ring) == expected(both[-most:])


def test_what_is_finished_meanwhile_counts_once() -> None:
    records = made(2 * CHUNK_RECORDS)
    ring = make_ring(waiting=records[CHUNK_RECORDS + 10 :])
    fill(ring, records)
    for _ in range(2):
        assert told(ring) == expected(records)


def test_an_evicted_record_counts_no_more() -> None:
    """Neither of a chunk of which was known what it says."""
    records = made(3 * CHUNK_RECORDS)
    ring = make_ring(records=2 * CHUNK_RECORDS)
    for end in range(64, len(records), 64):
        ring.keep(records[end - 64 : end], [1] * 64)
        assert told(ring) == expected(records[max(0, end - 2 * CHUNK_RECORDS) : end])


def test_what_is_not_wanted_is_left_out() -> None:
    ring = make_ring()
    fill(ring, made(2 * CHUNK_RECORDS + 7))
    assert set(add_up(ring.tallied(), [1, 3, 99])) == {1, 3}
