"""Compares what a producer did with what a receiver noted; pure.

What must hold, whatever the receiver did:

- Each record is kept by the receiver, or refused by it, or given up by the producer,
  which has counted it.
- Nothing arrives that was not logged, and each record is as it was written.
- Nothing is sent again that was acknowledged or refused. What the receiver kept and
  could not acknowledge may come again.
- The records of a writer arrive in their order.
- The producer's books balance whenever they are looked at, and at the end their
  numbers are those of the receiver.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Collection

    from e2e.faults.journal import Journal, Noted
    from e2e.faults.producer import Report
    from e2e.faults.records import Runs

__all__ = ["Verdict", "judge"]

NEW: Final = 0
KEPT: Final = 1
"""The receiver has it, and could not say so, or we do not know whether it could."""

REFUSED: Final = 2
ACKNOWLEDGED: Final = 3


@dataclasses.dataclass(kw_only=True)
class Verdict:
    """What came of the records; each number counts records.

    Attributes:
        name: Of what was tried.
        logged: By the producer.
        acknowledged: Kept by the receiver, which said so.
        unsure: Kept by the receiver; whether the producer knows is not sure.
        refused: By the receiver, for good.
        lost: Neither kept nor refused.
        resent: Times that a record came again, rightly: nobody had acknowledged it.
        doubled: Times that a record came again, wrongly.
        alien: Records that nobody had logged.
        damaged: Records that are not as they were written.
        disordered: Records that came for the first time after a later one.
        counted: What the producer says of those that it has not delivered.
        faults: What must not be, in words.
    """

    name: str
    logged: int = 0
    acknowledged: int = 0
    unsure: int = 0
    refused: int = 0
    lost: int = 0
    resent: int = 0
    doubled: int = 0
    alien: int = 0
    damaged: int = 0
    disordered: int = 0
    counted: str = ""
    missing: Runs = dataclasses.field(default_factory=dict[str, list[list[int]]])
    faults: list[str] = dataclasses.field(default_factory=list[str])

    @property
    def line(self) -> str:
        """The verdict in one line."""
        numbers = ", ".join(
            f"{getattr(self, name)} {name}"
            for name in (
                "logged", "acknowledged", "unsure", "refused", "lost", "resent",
                "doubled", "alien", "damaged", "disordered",
            )
        )  # fmt: skip
        verdict = f"NO: {'; '.join(self.faults)}" if self.faults else "yes"
        return f"{self.name}: {numbers}; {self.counted}: {verdict}"


def judge(
    name: str,
    report: Report,
    journal: Journal,
    *,
    unsure: int = 0,
    may_be: Collection[str] = (),
) -> Verdict:
    """Return what came of the records that a producer logged.

    Args:
        name: Of what was tried.
        report: The producer's.
        journal: The receiver's.
        unsure: So many more each writer may have logged than its report says: one,
            if it was killed between the log call and its note.
        may_be: What is counted and is no fault, because somebody stands between the
            producer and the receiver: ``"disordered"``, and ``"doubled"`` if that one
            was killed.
    """
    verdict = Verdict(name=name, logged=sum(report.logged.values()))
    ledger = _Ledger(report.logged, unsure, verdict)
    for request in journal.requests:
        ledger.enter(request)
    ledger.sum_up(report.logged)
    for kind in ("doubled", "alien", "damaged", "disordered"):
        if (number := getattr(verdict, kind)) and kind not in may_be:
            verdict.faults.append(f"{number} {kind}")
    if report.stats is not None:
        _compare(verdict, report)
    return verdict


class _Ledger:
    """What became of each record of each writer."""

    def __init__(self, logged: dict[str, int], unsure: int, verdict: Verdict) -> None:
        self._states = {
            writer: bytearray(count + unsure) for writer, count in logged.items()
        }
        self._highest = dict.fromkeys(logged, -1)
        self._verdict = verdict

    def enter(self, request: Noted) -> None:
        self._verdict.damaged += request.damaged
        kept = ACKNOWLEDGED if request.is_answered else KEPT
        fates = {"kept": kept, "refused": REFUSED, "not now": NEW}
        # They came first; `Step.rejects` says so.
        self._enter(request.rejected, REFUSED if request.is_answered else NEW)
        self._enter(request.records, fates[request.fate])

    def _enter(self, records: Runs, fate: int) -> None:
        verdict = self._verdict
        for writer, runs in records.items():
            states = self._states.get(writer, bytearray())
            for first, last in runs:
                for number in range(first, last + 1):
                    if number >= len(states):
                        verdict.alien += 1
                        continue
                    state = states[number]
                    if state in (ACKNOWLEDGED, REFUSED):
                        verdict.doubled += 1
                    elif state == KEPT:
                        verdict.resent += 1
                    elif fate != NEW:
                        verdict.disordered += number < self._highest[writer]
                        self._highest[writer] = max(number, self._highest[writer])
                    states[number] = max(state, fate)

    def sum_up(self, logged: dict[str, int]) -> None:
        verdict = self._verdict
        for writer, count in logged.items():
            states = self._states[writer]
            verdict.acknowledged += states.count(ACKNOWLEDGED)
            verdict.unsure += states.count(KEPT)
            verdict.refused += states.count(REFUSED)
            missing = [n for n in range(count) if states[n] == NEW]
            verdict.lost += len(missing)
            for number in missing:
                runs = verdict.missing.setdefault(writer, [])
                if runs and runs[-1][1] == number - 1:
                    runs[-1][1] = number
                else:
                    runs.append([number, number])


def _compare(verdict: Verdict, report: Report) -> None:
    """Compare the producer's books with what the receiver has."""
    stats = report.stats
    assert stats is not None  # for the type checker
    verdict.counted = (
        f"books: {report.samples} samples, {stats['delivered']} delivered, "
        f"{stats['rejected']} rejected, {stats['dropped']} dropped, "
        f"{stats['spooled']} spooled, {stats['pending']} pending"
    )
    faults = verdict.faults
    if report.unbalanced:
        faults.append(f"the books did not balance: {report.unbalanced[0]}")
    if stats["accepted"] != verdict.logged:
        faults.append(f"{stats['accepted']} accepted of {verdict.logged} logged")
    low, high = verdict.acknowledged, verdict.acknowledged + verdict.unsure
    if not low <= stats["delivered"] <= high:
        faults.append(f"{stats['delivered']} delivered, but {low} to {high} kept")
    if stats["rejected"] != verdict.refused:
        faults.append(f"{stats['rejected']} rejected, but {verdict.refused} refused")
    known = stats["dropped"] + stats["spooled"] + stats["pending"]
    if verdict.lost > known:
        faults.append(f"{verdict.lost} lost, but only {known} counted")
