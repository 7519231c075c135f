"""The judge of the fault tests says no where it has to."""

from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from e2e.faults.journal import Journal, Noted
from e2e.faults.judge import Verdict, judge
from e2e.faults.producer import Report
from e2e.faults.records import Arrived, Payloads, checksum, runs_of

W = "producer/0"


def request(*runs: tuple[int, int], writer: str = W, **more: Any) -> Noted:
    fields: dict[str, Any] = {
        "at_seconds": 0.0, "do": "accept", "fate": "kept", "sender": "", "size_bytes": 1,
        "rejected": {}, "damaged": 0, "is_answered": True,
        "records": {writer: [list(run) for run in runs]},
    }  # fmt: skip
    return Noted(**fields | more)


def report(logged: int = 10, **stats: int) -> Report:
    books = {
        "accepted": logged, "delivered": logged, "rejected": 0, "dropped": 0,
        "spooled": 0, "pending": 0,
    }  # fmt: skip
    return Report(logged={W: logged}, worst_call_seconds=0.0, stats=books | stats)


def verdict(*requests: Noted, unsure: int = 0, **stats: int) -> Verdict:
    journal = Journal(list(requests), [], 0)
    return judge("test", report(**stats), journal, unsure=unsure)


def test_all_kept_and_acknowledged_is_a_yes() -> None:
    found = verdict(request((0, 4)), request((5, 9)))
    assert not found.faults
    assert found.acknowledged == 10
    assert found.line.endswith(": yes")


def test_what_was_not_taken_may_come_again() -> None:
    busy = request((0, 9), fate="not now")
    unknown = request((0, 9), is_answered=False)
    found = verdict(busy, unknown, unknown, request((0, 9)))
    assert not found.faults
    assert found.resent == 20


def test_what_is_kept_without_an_answer_is_not_lost() -> None:
    unknown = request((5, 9), is_answered=False)
    for delivered in (5, 10):
        found = verdict(
            request((0, 4)), unknown, delivered=delivered, pending=10 - delivered
        )
        assert not found.faults
        assert (found.acknowledged, found.unsure, found.lost) == (5, 5, 0)


def test_what_was_counted_may_be_lost() -> None:
    found = verdict(request((5, 9)), delivered=5, dropped=3, spooled=1, pending=1)
    assert not found.faults
    assert (found.lost, found.missing) == (5, {W: [[0, 4]]})


def test_what_a_partial_success_rejects_is_refused() -> None:
    partly = request((3, 9), rejected={W: [[0, 2]]})
    found = verdict(partly, delivered=7, rejected=3)
    assert not found.faults
    assert found.refused == 3


@pytest.mark.parametrize(
    ("requests", "stats", "fault"),
    [
        ([request((0, 8))], {}, "9 to 9 kept"),
        ([request((0, 8))], {"delivered": 9}, "1 lost, but only 0 counted"),
        ([request((0, 9)), request((3, 4))], {}, "2 doubled"),
        ([request((0, 9)), request((3, 3), fate="not now")], {}, "1 doubled"),
        ([request((0, 10))], {}, "1 alien"),
        ([request((0, 9)), request((0, 0), writer="x")], {}, "1 alien"),
        ([request((0, 9), damaged=1)], {}, "1 damaged"),
        ([request((5, 9)), request((0, 4))], {}, "5 disordered"),
        ([request((0, 9))], {"accepted": 11}, "11 accepted of 10"),
        ([request((0, 9))], {"delivered": 9}, "9 delivered, but 10 to 10 kept"),
        ([request((0, 9), fate="refused")], {"delivered": 0}, "0 rejected, but 10"),
    ],
    ids=[
        "delivered too much", "lost in silence", "again after the yes",
        "asked again after the yes", "a number too high", "a writer nobody knows",
        "damaged", "out of order", "accepted too much", "delivered too little",
        "rejected too little",
    ],
)  # fmt: skip
def test_a_fault_is_seen(
    requests: list[Noted], stats: dict[str, int], fault: str
) -> None:
    found = verdict(*requests, **stats)
    assert any(fault in each for each in found.faults), found.faults
    assert ": NO: " in found.line


def test_what_somebody_in_between_may_do_is_counted_and_no_fault() -> None:
    journal = Journal([request((5, 9)), request((0, 5))], [], 0)
    found = judge("test", report(), journal, may_be=("disordered", "doubled"))
    assert (found.disordered, found.doubled, found.faults) == (5, 1, [])
    found = judge("test", report(), journal, may_be=("disordered",))
    assert found.faults == ["1 doubled"]


def test_books_that_did_not_balance_are_a_fault() -> None:
    bad = dataclasses.replace(report(), unbalanced=[{"pending": 1}])
    found = judge("test", bad, Journal([request((0, 9))], [], 0))
    assert found.faults == ["the books did not balance: {'pending': 1}"]


def test_one_more_than_was_noted_is_no_alien_of_a_producer_that_was_killed() -> None:
    found = verdict(request((0, 10)), unsure=1, accepted=10, delivered=11)
    assert not found.faults


def test_a_checksum_is_of_the_text_and_of_whose_it_is() -> None:
    first = checksum(W, 1, "text")
    others = [
        checksum(W, 1, "texT"), checksum(W, 2, "text"), checksum("x", 1, "text")
    ]  # fmt: skip
    assert first not in others
    assert checksum(W, 1, "text") == first


def test_payloads_are_repeatable_and_not_alike() -> None:
    once, again = Payloads("seed", 50), Payloads("seed", 50)
    texts = [once.next() for _ in range(100)]
    assert texts == [again.next() for _ in range(100)]
    assert len(set(texts)) == 100
    assert {len(text) for text in texts} <= set(range(25, 76))


def test_runs_keep_the_order_of_arrival() -> None:
    numbers = (0, 1, 2, 5, 4, 4)
    arrived = [Arrived("a", number, is_whole=True) for number in numbers]
    arrived.insert(2, Arrived("b", 7, is_whole=True))
    assert runs_of(arrived) == {"a": [[0, 2], [5, 5], [4, 4], [4, 4]], "b": [[7, 7]]}
