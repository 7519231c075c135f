"""Odd values; the reference has the same table."""

from __future__ import annotations

import itertools
import logging
from typing import TYPE_CHECKING, Any, Final

import pytest
from e2e.odd_values.cases import CASES
from e2e.odd_values.child import OFFICIAL, OURS
from e2e.odd_values.judge import run
from e2e.odd_values.page import cells, written
from loki_rules import LokiRules
from otlp_peers import GrpcPeer, HttpPeer

from otel_tasklog import Config, TaskLog, task

if TYPE_CHECKING:
    from e2e.odd_values.judge import Outcome

pytestmark = pytest.mark.e2e

OFFICIAL_TOO: Final = [
    number
    for number, case in enumerate(CASES)
    if case.name
    in {"`2**63`", "`bytearray`", "a list that holds itself", "`'%d'` of `'x'`"}
]
"""Of each way to go wrong one. All take a minute."""


@pytest.fixture(scope="module")
def outcomes() -> dict[str, dict[int, Outcome]]:
    return run((OURS,), range(len(CASES))) | run((OFFICIAL,), OFFICIAL_TOO)


def test_no_odd_value_harms_anything_and_each_becomes_what_it_should(
    outcomes: dict[str, dict[int, Outcome]],
) -> None:
    bad = [
        cells(number, {OURS: outcomes[OURS]})
        for number, outcome in outcomes[OURS].items()
        if not outcome.is_good(CASES[number])
    ]
    assert not bad


def test_the_reference_has_the_same_table(
    outcomes: dict[str, dict[int, Outcome]],
) -> None:
    rows = written()
    assert len(rows) == len(CASES)
    for number, row in enumerate(rows):
        assert row == row | cells(number, outcomes)


RECORDS: Final = 512


@pytest.mark.parametrize("kind", [HttpPeer, GrpcPeer], ids=["http", "grpc"])
def test_a_batch_with_one_record_of_each_kind_arrives_whole(
    kind: type[HttpPeer | GrpcPeer],
) -> None:
    """All of it, each record once, in one request, and each logger's in their order."""
    odd = [case for case in CASES if case.is_one_record]
    places = {
        1 + index * (RECORDS - 2) // len(odd): case for index, case in enumerate(odd)
    }
    assert len(places) == len(odd)
    log = logging.getLogger("odd")
    with kind() as peer:
        config = Config(
            endpoint=peer.endpoint, protocol=peer.protocol,
            batch_records=RECORDS, batch_bytes=2**22, schedule_delay_seconds=60.0,
        )  # fmt: skip
        tasklog = TaskLog(config)
        log.setLevel(1)
        log.propagate = False
        log.addHandler(tasklog.handler)
        try:
            for number in range(RECORDS):
                with task(str(number)):
                    if number in places:
                        places[number].log(log)
                    else:
                        log.info("good")
            assert tasklog.flush(30.0)
        finally:
            tasklog.close()
        [request] = peer.requests
    numbers = [
        [_number(record) for record in scope.log_records]
        for group in request.message.resource_logs
        for scope in group.scope_logs
    ]
    assert sorted(itertools.chain.from_iterable(numbers)) == list(range(RECORDS))
    assert all(each == sorted(each) for each in numbers)
    objections = {each.rule for each in LokiRules().judge(request.body)}
    assert objections <= {"push size"}  # batch_bytes is larger here than its default
    stats = tasklog.stats()
    assert (stats.delivered, stats.rejected, stats.pending) == (RECORDS, 0, 0)


def _number(record: Any) -> int:
    """Return the number of a record: its job, or the one around its own."""
    found = {pair.key: pair.value.string_value for pair in record.attributes}
    return int(found.get("task_parent_id") or found.get("task_id", -1))
