"""Through a collector nobody here wrote, everything arrives once and whole."""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from typing import TYPE_CHECKING, Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

import otel_tasklog

if TYPE_CHECKING:
    from e2e.conftest import ReceiverProcess
    from opentelemetry.trace import Span

pytestmark = pytest.mark.e2e

JOBS = 100
RECORDS_A_TASK = 100
log = logging.getLogger("e2e.collector")


class Producer:
    """200 tasks, half of them inside a job of another; it keeps its own books."""

    def __init__(self) -> None:
        self.expected: dict[int, dict[str, Any]] = {}
        self._tracer = TracerProvider().get_tracer("e2e")
        self._next = 0

    def _log(self, span: Span | None, **expected: Any) -> None:
        number = self._next
        self._next += 1
        context = span.get_span_context() if span is not None else None
        self.expected[number] = {
            **expected,
            "trace_id": trace.format_trace_id(context.trace_id) if context else "",
            "span_id": trace.format_span_id(context.span_id) if context else "",
        }
        log.info("record %d", number, extra={"number": number})

    async def _child(self, job: str) -> None:
        own = f"{job}/child"
        async with otel_tasklog.task(own):
            name = f"child of {job}"
            for _ in range(RECORDS_A_TASK // 2):
                # Inherited through the context that the task was created in.
                span = trace.get_current_span()
                self._log(span, task_id=own, parent=job, name=name)
                await asyncio.sleep(0)
            with self._tracer.start_as_current_span("nested") as span:
                for _ in range(RECORDS_A_TASK // 2):
                    self._log(span, task_id=own, parent=job, name=name)

    async def job(self, number: int) -> None:
        job = f"job-{number}"
        async with otel_tasklog.task(job):
            name = f"main of {job}"
            for _ in range(RECORDS_A_TASK // 2):
                self._log(None, task_id=job, parent=None, name=name)
                await asyncio.sleep(0)
            with self._tracer.start_as_current_span("outer") as span:
                for _ in range(RECORDS_A_TASK // 2):
                    self._log(span, task_id=job, parent=None, name=name)
                await asyncio.create_task(self._child(job), name=f"child of {job}")


@pytest.mark.parametrize("protocol", ["http/protobuf", "grpc"])
def test_20_000_records_of_200_tasks_arrive_once_with_all_that_they_are(
    rotel: dict[str, str], receiver: ReceiverProcess, protocol: str
) -> None:
    producer = Producer()

    async def main() -> otel_tasklog.Stats:
        async with otel_tasklog.install(
            endpoint=rotel[protocol],
            protocol=protocol,
            service_name="e2e",
            loggers=[log],
            schedule_delay_seconds=0.1,
        ) as tasklog:
            log.setLevel(logging.INFO)
            log.propagate = False
            async with asyncio.TaskGroup() as group:
                for number in range(JOBS):
                    group.create_task(
                        producer.job(number), name=f"main of job-{number}"
                    )
            assert await tasklog.aflush(30)
        return tasklog.stats()

    stats = asyncio.run(main())
    total = JOBS * 2 * RECORDS_A_TASK
    assert stats.captured == stats.delivered == total == len(producer.expected)
    receiver.wait_for(total)
    records = receiver.close()

    seen = [record["attributes"]["number"] for record in records]
    assert sorted(seen) == list(range(total))
    numbers: defaultdict[str, set[int]] = defaultdict(set)
    parents: defaultdict[str, set[int | None]] = defaultdict(set)
    for record in records:
        attributes = record["attributes"]
        expected = producer.expected[attributes["number"]]
        assert record["body"] == f"record {attributes['number']}"
        assert attributes["task_id"] == expected["task_id"]
        assert attributes.get("task_parent_id") == expected["parent"]
        assert attributes["asyncio.task.name"] == expected["name"]
        assert record["trace_id"] == expected["trace_id"]
        assert record["span_id"] == expected["span_id"]
        assert record["scope"] == log.name
        assert (record["severity_number"], record["severity_text"]) == (9, "INFO")
        assert record["resource"]["service.name"] == "e2e"
        assert attributes["code.function.name"] == "_log"
        numbers[expected["name"]].add(attributes["asyncio.task.id"])
        parents[expected["name"]].add(attributes.get("asyncio.task.parent_id"))
    assert len(numbers) == JOBS * 2
    assert all(len(own) == 1 for own in numbers.values())
    assert len(set.union(*numbers.values())) == JOBS * 2
    for number in range(JOBS):
        assert parents[f"child of job-{number}"] == numbers[f"main of job-{number}"]
