"""Through an official Collector with the configuration that we ship, nothing is lost.

A producer, the Collector and a receiver that stands for Loki are processes of their
own; the judge of the fault tests compares. The Collector has four senders, so the order
of records is not kept; and what it had on its way when it was killed comes again.
"""

from __future__ import annotations

import asyncio
import dataclasses
import logging
from typing import TYPE_CHECKING, Final

import pytest
from e2e.collector.running import (
    BOTH,
    GRPC,
    HTTP,
    QUEUE,
    REFUSED,
    SENT,
    needs_collector,
    running_collector,
    running_producer,
)
from e2e.faults.judge import judge
from e2e.faults.running import finish, running_receiver
from e2e.faults.script import Step
from loki_peer import listening

import otel_tasklog
from otel_tasklog.store.loki import LokiStorage

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from e2e.collector.running import Collector
    from e2e.faults.journal import Journal
    from e2e.faults.judge import Verdict
    from e2e.faults.producer import Report
    from e2e.faults.running import Receiver

pytestmark = [pytest.mark.e2e, needs_collector]

RECORDS: Final = 50_000
MIB: Final = 1 << 20
REORDERS: Final = ("disordered",)
LOKI: Final = Step(do="answer", status=204, keeps=True, path="/otlp/v1/logs")
"""Takes all, as Loki says it, and where Loki listens."""

NOT_NOW: Final = {HTTP: "answered 503", GRPC: "UNAVAILABLE:"}


def settle(
    name: str,
    collector: Collector,
    receiver: Receiver,
    report: Report,
    *,
    may_be: Collection[str] = REORDERS,
) -> tuple[Verdict, Journal]:
    """Have the Collector pass on what it has; return what the judge says of it all."""
    collector.wait_for(QUEUE, lambda size: size == 0)
    assert collector.close() == 0
    journal = receiver.close()
    verdict = judge(name, report, journal, may_be=may_be)
    print(f"{verdict.line}; {len(journal.requests)} requests")  # noqa: T201
    assert not verdict.faults
    assert (verdict.lost, verdict.refused, report.flushed) == (0, 0, True)
    # None came to another path than Loki's: there the receiver would "accept".
    assert {request.do for request in journal.requests} <= {"answer", "hang"}
    return verdict, journal


@pytest.mark.parametrize("protocol", BOTH, ids=["http", "grpc"])
def test_50_000_records_arrive_once_each(protocol: str, tmp_path: Path) -> None:
    with (
        running_receiver(HTTP, tmp_path / "journal", script=[LOKI]) as receiver,
        running_collector(tmp_path, receiver.endpoint) as collector,
        running_producer(collector, protocol, records=RECORDS) as producer,
    ):
        report = finish(producer, 50)
        collector.wait_for(SENT, lambda sent: sent == RECORDS)
        verdict, journal = settle(protocol, collector, receiver, report)
    assert (verdict.logged, verdict.acknowledged) == (RECORDS, RECORDS)
    assert verdict.resent == 0
    # Far from the 4 MiB that any Loki takes, with what is around the records.
    assert max(request.size_bytes for request in journal.requests) < 1.1 * MIB


def test_a_collector_that_is_killed_and_starts_again(tmp_path: Path) -> None:
    """Killed with a request on its way, then with a queue of what it had acknowledged."""
    script = [
        dataclasses.replace(LOKI, requests=6),
        Step(do="hang", requests=1),
        dataclasses.replace(LOKI, requests=6),
        Step(do="refuse"),
    ]
    with (
        running_receiver(HTTP, tmp_path / "journal", script=script) as receiver,
        running_collector(tmp_path, receiver.endpoint) as collector,
        running_producer(collector, HTTP, records=RECORDS, rate=10_000) as producer,
    ):
        receiver.wait_for_requests(7)
        collector.kill()
        assert collector.health() is None
        collector.start()
        receiver.wait_for_requests(13)
        collector.wait_for(QUEUE, lambda size: size > MIB)
        collector.kill()
        receiver.kill()
        receiver.restart([LOKI])
        collector.start()
        report = finish(producer, 50)
        verdict, journal = settle(
            "killed twice", collector, receiver, report, may_be=(*REORDERS, "doubled")
        )
    assert (verdict.logged, len(journal.openings)) == (RECORDS, 2)
    assert verdict.resent > 0


def test_a_backend_that_is_away_for_a_while(tmp_path: Path) -> None:
    """First its port is closed, then it has no time."""
    script = [
        dataclasses.replace(LOKI, requests=5),
        Step(do="refuse", seconds=3.0),
        Step(do="answer", status=503, requests=4),
        Step(do="answer", status=429, requests=2),
        LOKI,
    ]
    with (
        running_receiver(HTTP, tmp_path / "journal", script=script) as receiver,
        running_collector(tmp_path, receiver.endpoint) as collector,
        running_producer(collector, HTTP, records=RECORDS, rate=12_500) as producer,
    ):
        report = finish(producer, 50)
        verdict, journal = settle("backend away", collector, receiver, report)
    assert (verdict.logged, len(journal.openings)) == (RECORDS, 2)
    assert [request.fate for request in journal.requests].count("not now") == 6


@pytest.mark.parametrize("protocol", BOTH, ids=["http", "grpc"])
def test_a_collector_without_memory_loses_nothing(
    protocol: str, tmp_path: Path
) -> None:
    """It refuses from its first look at what it takes, a second after its start."""
    starved = {"OTELCOL_MEMORY_LIMIT_MIB": "2", "OTELCOL_MEMORY_SPIKE_MIB": "1"}
    with (
        running_receiver(HTTP, tmp_path / "journal", script=[LOKI]) as receiver,
        running_collector(tmp_path, receiver.endpoint, **starved) as collector,
        running_producer(collector, protocol, records=10_000, rate=5_000) as producer,
    ):
        collector.wait_for(REFUSED, lambda refused: refused > 0)
        assert collector.close() == 0
        collector.start()
        report = finish(producer, 50)
        settle(f"{protocol}, no memory", collector, receiver, report)
    _check_refusal(report, protocol, "data refused due to high memory usage")


@pytest.mark.parametrize("protocol", BOTH, ids=["http", "grpc"])
def test_a_full_queue_loses_nothing(protocol: str, tmp_path: Path) -> None:
    script = [Step(do="refuse")]
    small = {"OTELCOL_QUEUE_BYTES": str(MIB)}
    with (
        running_receiver(HTTP, tmp_path / "journal", script=script) as receiver,
        running_collector(tmp_path, receiver.endpoint, **small) as collector,
        running_producer(collector, protocol, records=20_000, rate=10_000) as producer,
    ):
        collector.wait_for(REFUSED, lambda refused: refused > 0)
        receiver.kill()
        receiver.restart([LOKI])
        report = finish(producer, 50)
        settle(f"{protocol}, queue full", collector, receiver, report)
    _check_refusal(report, protocol, "sending queue is full")


def _check_refusal(report: Report, protocol: str, reason: str) -> None:
    """The producer was told "not now", and why."""
    assert report.stats is not None
    assert f"{NOT_NOW[protocol]} {reason}" in report.stats["last_error"]


def test_a_tasks_log_is_found_in_loki_as_it_is_here(tmp_path: Path) -> None:
    pytest.importorskip("re2", reason="google-re2 is not installed (extra: regex)")
    log = logging.getLogger("e2e.official_collector")
    query = "task:order-1 level>=warning"
    with (
        listening() as loki,
        running_collector(tmp_path, loki.url) as collector,
        otel_tasklog.install(
            service_name="shop", level="INFO", loggers=[log], console=False,
            include=("asyncio", "code", "process", "thread"),
            endpoint=collector.endpoints[HTTP], schedule_delay_seconds=0.05,
        ) as tasklog,
    ):  # fmt: skip
        log.propagate = False
        asyncio.run(_orders(log))
        assert tasklog.flush(10)
        collector.wait_for(SENT, lambda sent: sent == 12)
        with LokiStorage(loki.url) as storage:
            found = storage.query(query)
        known = tasklog.query(query)
    assert [r.message for r in found] == ["order-1 failed", "order-1 is late"]
    assert [_shown(record) for record in found] == [_shown(record) for record in known]


async def _orders(log: logging.Logger) -> None:
    async def order(name: str) -> None:
        async with otel_tasklog.task(name):
            log.info("%s came", name)
            log.warning("%s is late", name)
            log.error("%s failed", name, exc_info=ValueError("no such article: 🦆"))

    async with asyncio.TaskGroup() as group:
        for number in range(4):
            group.create_task(order(f"order-{number}"), name=f"task {number}")


def _shown(record: otel_tasklog.TaskRecord) -> dict[str, object]:
    """All of it but its number in this process, which is not sent."""
    return {**record.to_dict(), "sequence": 0}
