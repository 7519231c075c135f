"""What came of each case: runs them, decodes what arrived, compares."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Final, NamedTuple

from e2e.odd_values.case import NOTHING, Seen
from e2e.odd_values.cases import CASES
from e2e.odd_values.child import NEIGHBOURS
from google.protobuf.message import (  # type: ignore[import-untyped]
    DecodeError,
)
from loki_rules import LokiRules
from otlp_peers import HttpPeer

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from e2e.odd_values.case import Case
    from otlp_peers import Request

__all__ = ["Outcome", "run"]

TESTS: Final = Path(__file__).parents[2]
PROCESSES: Final = 2
"""Of each pipeline, for the time that it takes."""


class Outcome(NamedTuple):
    """What came of a case.

    Attributes:
        raised: What the caller got to see.
        neighbours: How many of the two good records arrived.
        records: How many others.
        became: What the odd thing became.
        lines: How many diagnostics there were.
        ended: Whether the process came to its end.
        refused: Why a default Loki would not take what arrived as it is.
    """

    raised: str
    neighbours: int
    records: int
    became: str
    lines: int
    ended: bool
    refused: tuple[str, ...]

    def harm(self, case: Case) -> list[str]:
        """Return what it did to the caller, itself, its neighbours, and a backend."""
        found: list[str] = []
        if not self.ended:
            found.append("hangs")
        if self.raised != case.raises:
            found.append(f"raises `{self.raised}`" if self.raised else "raises nothing")
        if self.is_lost(case):
            found.append("lost")
        if self.neighbours < len(NEIGHBOURS):
            found.append("neighbours lost")
        found += [f"Loki: {rule}" for rule in self.refused]
        return found

    def is_lost(self, case: Case) -> bool:
        return self.records < case.records and not case.raises

    def differs(self, case: Case) -> bool:
        """Say whether it arrived and is not what it was to become."""
        return self.became != case.becomes and not self.is_lost(case)

    def is_good(self, case: Case) -> bool:
        """Say whether all is as it should be, its diagnostics too."""
        harmless = not self.harm(case) and not self.differs(case)
        return harmless and self.lines <= case.lines


def seen_in(requests: Iterable[Request]) -> Iterator[Seen]:
    """Return the records of requests. A receiver refuses what it cannot decode."""
    for request in requests:
        try:
            message = request.message
        except DecodeError:
            continue
        for group in message.resource_logs:
            resource = {pair.key: pair.value for pair in group.resource.attributes}
            for scope in group.scope_logs:
                for record in scope.log_records:
                    yield Seen(record, scope.scope.name, resource)


def _outcome(case: Case, report: dict[str, object], requests: list[Request]) -> Outcome:
    seen = list(seen_in(requests))
    neighbours = [s for s in seen if s.record.body.string_value in NEIGHBOURS]
    odd = [s for s in seen if s.record.body.string_value not in NEIGHBOURS]
    loki = LokiRules()
    rules = {each.rule for request in requests for each in loki.judge(request.body)}
    return Outcome(
        raised=str(report.get("raised", "")),
        neighbours=len(neighbours),
        records=len(odd),
        became=" and ".join(case.look(each) for each in odd) or NOTHING,
        lines=int(str(report.get("lines", 0))),
        ended=bool(report),
        # A name of ours is no name of Loki's: what the key became says enough.
        refused=tuple(sorted(rules - {"name"})),
    )


def run(
    pipelines: Iterable[str], numbers: Sequence[int]
) -> dict[str, dict[int, Outcome]]:
    """Run cases by their numbers in `CASES`; return what came of each, by pipeline."""
    environ = {**os.environ, "PYTHONPATH": str(TESTS)}
    with HttpPeer() as peer:
        base = f"http://127.0.0.1:{peer.port}"
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", "e2e.odd_values.child", pipeline,
                 f"{base}/{pipeline}", *map(str, numbers[start::PROCESSES])],
                stdout=subprocess.PIPE, env=environ, text=True,
            )
            for pipeline in pipelines
            for start in range(PROCESSES)
        ]  # fmt: skip
        said = "".join(process.communicate()[0] for process in processes)
        arrived: dict[str, list[Request]] = defaultdict(list)
        for request in peer.requests:
            arrived[request.path].append(request)
    reports = {
        (r["pipeline"], r["case"]): r for r in map(json.loads, said.splitlines())
    }
    return {
        pipeline: {
            number: _outcome(
                CASES[number],
                reports.get((pipeline, number), {}),
                arrived[f"/{pipeline}/{number}"],
            )
            for number in numbers
        }
        for pipeline in pipelines
    }
